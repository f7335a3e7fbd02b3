"""From what runs on a node to where its energy goes: frequency, voltage, threads that share a core, memory, leakage.

Written from how processors work, for no model in particular. Per pod and interval of `INTERVAL_SECONDS`:

- the governor raises frequency with the load and turbo lowers it as more cores are active; voltage rises with
  frequency (V about linear in f above a floor), and switching energy with its square (P ~ C·V²·f·activity);
- the second thread of a core shares its clock tree and leakage, and gets less done per cycle;
- instructions per cycle fall when misses have to wait for memory, more so at a high frequency, since memory does not
  get faster with it, and when the node's other misses queue before one's own;
- a miss costs energy in the memory controller and the DRAM; memory that is in use costs standby power on top;
- the uncore (ring, last-level cache) speeds up with traffic and saturates; what it uses beyond idle is its users';
- silicon that was busy is warm and leaks more for about a minute.

Magnitudes follow a recorded two-package Broadwell: 53 W idle, about 210 W with 32 busy threads, and a wake-up of the
uncore and memory by the first few threads that costs as much as several busy cores. There is no power limit.

Everything beyond the node's idle energy is caused by pods and belongs to them: pods and idle add up to the node.
All arrays are (t, s): interval by pod place; node-level ones are (t, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kepler_train.contract.window import INTERVAL_SECONDS
from kepler_train.simulate.randomness import Floats

MILLIJOULES = 1000.0


@dataclass(frozen=True)
class Architecture:
    """A two-package server. Powers in watts, frequencies in GHz, energies in nJ."""

    cores: int = 36
    least_frequency: float = 1.2
    turbo_one_core: float = 3.3
    turbo_all_cores: float = 2.8
    idle_power: float = 53.0
    idle_dram_share: float = 0.72
    """Share of the idle power that is counted as DRAM's, as on the recorded machine."""
    core_clock_power: float = 1.0
    """One active core's clock tree and front end, at `REFERENCE_FREQUENCY` and its voltage."""
    core_leakage_power: float = 0.7
    instruction_energy_scale: float = 1.0
    uncore_power: float = 17.0
    """What the uncore uses at full traffic beyond idle."""
    dram_standby_power: float = 9.0
    """What memory in use needs beyond self-refresh."""
    miss_energy: float = 45.0
    miss_latency_nanoseconds: float = 85.0


REFERENCE_FREQUENCY = 2.7

ARCHITECTURES = {
    "Broadwell": Architecture(),
    "Haswell": Architecture(cores=24, turbo_all_cores=2.6, idle_power=48.0, instruction_energy_scale=1.15),
    "Sky Lake": Architecture(
        cores=40, turbo_one_core=3.7, turbo_all_cores=2.8, idle_power=62.0, uncore_power=16.0, miss_energy=40.0
    ),
    "Cascade Lake": Architecture(
        cores=48,
        turbo_one_core=3.9,
        turbo_all_cores=3.0,
        idle_power=70.0,
        core_leakage_power=0.6,
        instruction_energy_scale=0.88,
        uncore_power=18.0,
        miss_energy=36.0,
    ),
}
"""By the name that the exporter gives in `cpu_architecture`."""


@dataclass(frozen=True)
class Work:
    """What the pods of a node are and want, (t, s) each."""

    threads: Floats
    """Threads that want to run, on average over the interval."""
    cycles_per_instruction: Floats
    """Without waiting for memory, alone on the core."""
    instruction_energy: Floats
    """nJ at the reference voltage."""
    misses_per_instruction: Floats
    miss_overlap: Floats
    """How many misses are under way at once: divides the waiting."""
    siblings: Floats
    """Scale, around 1, of how often this pod's threads find their core's other thread busy."""
    duty: Floats
    """Share of time in which a core that this pod uses is busy with it: what a governor of its own would see."""


@dataclass(frozen=True)
class Activity:
    """What happened, (t, s) each unless said; energies in mJ per interval, beyond the node's idle."""

    cpu_seconds: Floats
    cycles: Floats
    instructions: Floats
    misses: Floats
    core_energy: Floats
    """Cores and uncore."""
    dram_energy: Floats
    frequency: Floats
    """GHz; (t, s) where pods have their own, else (t, 1)."""


def voltage(frequency: Floats) -> Floats:
    """Supply voltage at a frequency in GHz: a floor, then rising ever faster."""
    above: Floats = np.maximum(frequency - 1.2, 0.0)
    return 0.68 + 0.12 * above + 0.03 * above**2


_REFERENCE_VOLTAGE = float(voltage(np.array(REFERENCE_FREQUENCY)))


def governed_frequency(architecture: Architecture, wanted: Floats, active: Floats) -> Floats:
    """Frequency in GHz from how busy the cores in question are (threads per core) and the share of active cores."""
    turbo = architecture.turbo_one_core - (architecture.turbo_one_core - architecture.turbo_all_cores) * active
    request = 0.15 + 0.85 * (1.0 - np.exp(-1.6 * wanted))
    frequency: Floats = architecture.least_frequency + (turbo - architecture.least_frequency) * request
    return frequency


def run(architecture: Architecture, cores: float, work: Work, own_frequency: bool, wander: Floats) -> Activity:
    """Run the pods' work on a node for every interval.

    `wander` is what moves frequencies besides the load, as a factor around 1: (t, 1), or (t, s) for pods' own.
    """
    seconds = work.threads * INTERVAL_SECONDS
    wanted = work.threads.sum(axis=1, keepdims=True)
    # Work beyond what the node has waits: everyone gets the same share of what he wants.
    seconds = seconds * np.minimum(1.0, 1.96 * cores / np.maximum(wanted, 1e-9))
    per_core = seconds.sum(axis=1, keepdims=True) / (INTERVAL_SECONDS * cores)
    active = 1.0 - np.exp(-1.25 * per_core)
    shared = _sibling_busy(per_core) * np.clip(work.siblings, 0.3, 1.7)
    shared = np.minimum(shared, 1.0)

    busy = work.duty if own_frequency else per_core
    frequency = governed_frequency(architecture, busy, active) * wander
    volts_squared = (voltage(frequency) / _REFERENCE_VOLTAGE) ** 2

    cycles = seconds * frequency * 1e9
    queue = 1.0 + 0.5 * _traffic(work, seconds, cores) ** 2
    waiting = work.misses_per_instruction * architecture.miss_latency_nanoseconds * frequency * queue
    # A thread that waits for memory leaves the core to its sibling: it loses less by sharing.
    per_instruction = work.cycles_per_instruction * (1.0 + 0.55 * shared) + waiting / work.miss_overlap
    instructions = cycles / per_instruction
    misses = instructions * work.misses_per_instruction

    switching = instructions * work.instruction_energy * architecture.instruction_energy_scale * 1e-9
    core_seconds = seconds * (1.0 - 0.5 * shared)
    clock = core_seconds * architecture.core_clock_power * frequency / REFERENCE_FREQUENCY
    leakage = core_seconds * architecture.core_leakage_power * np.sqrt(volts_squared)
    core = (switching + clock) * volts_squared

    traffic = core_seconds + misses * 2e-8
    uncore = _saturating(traffic, architecture.uncore_power, 0.2 * cores * INTERVAL_SECONDS)
    standby = _saturating(misses, architecture.dram_standby_power, 1.5e6 * cores)
    warmth = _warmth(core.sum(axis=1, keepdims=True) / (cores * INTERVAL_SECONDS))
    return Activity(
        cpu_seconds=seconds,
        cycles=cycles,
        instructions=instructions,
        misses=misses,
        core_energy=(core + leakage * warmth + uncore * cores / architecture.cores) * MILLIJOULES,
        dram_energy=(misses * architecture.miss_energy * 1e-9 + standby * cores / architecture.cores) * MILLIJOULES,
        frequency=frequency,
    )


WARMTH_INTERVALS = 40
"""How many intervals before the first one asked for must be run for the warmth to be right."""


def _sibling_busy(per_core: Floats) -> Floats:
    """Share of a thread's time in which its core's other thread is busy; schedulers fill empty cores first."""
    spread = 0.25 * per_core / 2.0
    crowded = 2.0 * np.maximum(per_core - 1.0, 0.0) / np.maximum(per_core, 1e-9)
    near_full = 0.10 * np.exp(-(((per_core - 1.0) / 0.35) ** 2))
    share: Floats = np.minimum(np.maximum(spread, crowded) + near_full, 1.0)
    return share


def _traffic(work: Work, seconds: Floats, cores: float) -> Floats:
    """Load on the memory controllers, about 0 to 1 and more, before they slow anyone down."""
    rate = seconds / INTERVAL_SECONDS * work.misses_per_instruction / work.cycles_per_instruction
    load: Floats = rate.sum(axis=1, keepdims=True) * REFERENCE_FREQUENCY * 1e9 / (2.5e7 * cores)
    return np.minimum(load, 2.0)


def _saturating(use: Floats, most_power: float, scale: float) -> Floats:
    """Energy in J of something shared that saturates with use, divided over its users in proportion to their use."""
    total = np.maximum(use.sum(axis=1, keepdims=True), 1e-12)
    energy: Floats = most_power * INTERVAL_SECONDS * (1.0 - np.exp(-total / scale)) / total * use
    return energy


def _warmth(power_per_core: Floats) -> Floats:
    """How much more silicon leaks, around 1, after the power of the last two minutes."""
    memory = np.exp(-np.arange(1, WARMTH_INTERVALS + 1) / 15.0)
    past = np.zeros_like(power_per_core)
    for ago, weight in enumerate(memory / memory.sum(), start=1):
        past[ago:] += weight * power_per_core[:-ago]
    return 0.85 + 0.15 * past / 2.0
