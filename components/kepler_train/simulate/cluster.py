"""The simulated cluster: its nodes, and any stretch of a node's life as arrays, with the truth.

This is the one place where numbers are made: recordings and the live exporter only write what a `Stretch` holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import WORKLOAD_FEATURES
from kepler_train.contract.window import INTERVAL_SECONDS
from kepler_train.simulate import load, physics, workloads
from kepler_train.simulate.counters import pod_counters
from kepler_train.simulate.physics import ARCHITECTURES, MILLIJOULES, WARMTH_INTERVALS, Activity, Architecture
from kepler_train.simulate.randomness import Floats, Ints, keys_of, normal, smooth, stretches, uniform
from kepler_train.simulate.spec import SimulationSpec, World
from kepler_train.simulate.workloads import Places, Pods

PACKAGES = 2
NOISE = 0.05
"""Standard deviation of a node's measured energy per interval, relative to the true one."""
_FREQUENCY_HELD_INTERVALS = 20
"""The exporter looks at frequencies once a minute."""


@dataclass(frozen=True)
class Pod:
    """A pod that a stretch has rows of."""

    name: str
    namespace: str
    kind: str
    command: str


@dataclass(frozen=True)
class Stretch:
    """What one node did and what its exporter saw, over t intervals with m pod rows; energies in mJ per interval.

    Rows are in time order; row i belongs to interval `row_interval[i]` and to `pods[row_pod[i]]`. Counters are whole
    numbers. `truth_millijoules` is each row's true dynamic energy: with `idle_millijoules` these add up to
    `true_millijoules`, which the package counters measure with noise.
    """

    node: str
    cpu_architecture: str
    index: Ints
    """Absolute interval numbers; interval i ends at i · INTERVAL_SECONDS, Unix time."""
    pods: tuple[Pod, ...]
    row_interval: Ints
    row_pod: Ints
    features: Floats
    """(m, 11), the columns of WORKLOAD_FEATURES."""
    truth_millijoules: Floats
    idle_millijoules: float
    true_millijoules: Floats
    package_millijoules: Ints
    """(t, 2), measured, DRAM included."""
    dram_millijoules: Ints
    """(t, 2), measured."""
    cpu_frequency_kilohertz: Ints
    """(t, cpus)."""

    @property
    def timestamp_milliseconds(self) -> Ints:
        """The end of each interval, (t,)."""
        milliseconds: Ints = self.index * round(INTERVAL_SECONDS * 1000)
        return milliseconds

    @cached_property
    def node_energy_millijoules(self) -> Ints:
        """What was measured of the node, (t,)."""
        energy: Ints = self.package_millijoules.sum(axis=1)
        return energy

    @cached_property
    def attributed_millijoules(self) -> Ints:
        """What Kepler would attribute, (m,): core energy by cpu time, DRAM energy by cache misses, idle included."""
        dram = self.dram_millijoules.sum(axis=1)
        core = self.node_energy_millijoules - dram
        shares = [self._share_of_node(feature) for feature in ("curr_cpu_time", "curr_cache_miss")]
        attributed: Floats = core[self.row_interval] * shares[0] + dram[self.row_interval] * shares[1]
        whole: Ints = np.rint(attributed).astype(np.int64)
        return whole

    def node_sums(self) -> Floats:
        """Each feature summed over the pods of an interval, (t, 11)."""
        sums = np.zeros((len(self.index), len(WORKLOAD_FEATURES)))
        np.add.at(sums, self.row_interval, self.features)
        return sums

    def _share_of_node(self, feature: str) -> Floats:
        values = self.features[:, WORKLOAD_FEATURES.index(feature)]
        total = np.bincount(self.row_interval, weights=values, minlength=len(self.index))
        share: Floats = values / np.maximum(total[self.row_interval], 1e-9)
        return share


class Node:
    """One simulated node."""

    def __init__(self, spec: SimulationSpec, number: int) -> None:
        self.spec = spec
        self.name = f"node{number + 1}"
        self.cpu_architecture = spec.architectures[number % len(spec.architectures)]
        if self.cpu_architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise WrongUsage(f"no architecture {self.cpu_architecture!r} is simulated; there are {known}")
        self.architecture: Architecture = ARCHITECTURES[self.cpu_architecture]
        self.cores = self.architecture.cores * spec.node_scale
        self.places: Places = workloads.places_of(spec, self.name, self.cores)
        # No two machines of a model idle alike.
        machine = float(normal(keys_of(1, spec.seed, self.name, "machine"), np.zeros(1, dtype=np.int64))[0, 0])
        idle_power = self.architecture.idle_power * spec.node_scale * (1.0 + 0.05 * machine)
        self.idle_millijoules = idle_power * INTERVAL_SECONDS * MILLIJOULES

    def stretch(self, first: int, intervals: int) -> Stretch:
        """Simulate `intervals` intervals from absolute number `first` on; the same whatever else was asked for."""
        index = np.arange(first - WARMTH_INTERVALS, first + intervals, dtype=np.int64)
        pods = workloads.pods_at(self.places, index)
        threads, duty = load.demand(self.spec, self.places, pods, index)
        work = workloads.work_of(self.places, pods, threads, duty, index)
        own = self.spec.world is World.OWN_FREQUENCY
        wander = 1.0 + 0.03 * smooth(self._keys("frequency", len(self.places.kinds) if own else 1), index, 10.0)
        activity = physics.run(self.architecture, self.cores, work, own, wander)
        activity = self._hide_unresolved(activity, index)
        features = pod_counters(self.places, pods, activity, index)
        return self._observe(index, pods, activity, features)

    def _keys(self, purpose: str, things: int) -> npt.NDArray[np.uint64]:
        return keys_of(things, self.spec.seed, self.name, purpose)

    def _hide_unresolved(self, activity: Activity, index: Ints) -> Activity:
        """Move what the exporter could not resolve to a pod, counters and energy, to `system_processes`."""
        place = self.places.workloads
        keys = self._keys("unresolved", place.stop - place.start)
        number, _ = stretches(keys, index, 60.0)
        share = np.zeros((len(index), place.stop))
        share[:, place] = np.where(uniform(keys, number) < 0.25, 0.3, 0.05)

        def move(values: Floats) -> Floats:
            hidden = values * share
            left = values - hidden
            left[:, 0] += hidden.sum(axis=1)
            return left

        return Activity(
            cpu_seconds=move(activity.cpu_seconds),
            cycles=move(activity.cycles),
            instructions=move(activity.instructions),
            misses=move(activity.misses),
            core_energy=move(activity.core_energy),
            dram_energy=move(activity.dram_energy),
            frequency=activity.frequency,
        )

    def _observe(self, index: Ints, pods: Pods, activity: Activity, features: Floats) -> Stretch:
        """Keep the intervals asked for, as rows, and measure the node."""
        asked = slice(WARMTH_INTERVALS, None)
        frequencies = self._cpu_frequencies(index, activity.frequency)[asked]
        index, features = index[asked], features[asked]
        ran = (activity.cpu_seconds[asked] > 0) & (features.sum(axis=2) > 0)
        interval, place = np.nonzero(ran)
        row_pod, found = self._pods(place, pods.generation[asked][interval, place])
        core, dram = activity.core_energy[asked], activity.dram_energy[asked]
        packages, drams = self._measure(index, core.sum(axis=1), dram.sum(axis=1))
        energy = core + dram
        return Stretch(
            node=self.name,
            cpu_architecture=self.cpu_architecture,
            index=index,
            pods=found,
            row_interval=interval,
            row_pod=row_pod,
            features=features[interval, place],
            truth_millijoules=energy[interval, place],
            idle_millijoules=self.idle_millijoules,
            true_millijoules=self.idle_millijoules + energy.sum(axis=1),
            package_millijoules=packages,
            dram_millijoules=drams,
            cpu_frequency_kilohertz=frequencies,
        )

    def _pods(self, place: Ints, generation: Ints) -> tuple[Ints, tuple[Pod, ...]]:
        both = np.stack([place, generation])
        distinct, row_pod = np.unique(both, axis=1, return_inverse=True)
        kinds = self.places.kinds
        pods = tuple(
            Pod(
                name=workloads.pod_name(self.places, int(at), int(born)),
                namespace=kinds[at].namespace,
                kind=kinds[at].name,
                command=kinds[at].command,
            )
            for at, born in distinct.T
        )
        return row_pod.reshape(-1), pods

    def _measure(self, index: Ints, core: Floats, dram: Floats) -> tuple[Ints, Ints]:
        """Read the package and DRAM energies, (t, packages) each, with the errors of reading.

        The gain drifts over minutes; a read that comes late moves energy between neighbours; the rest is white.
        """
        keys = self._keys("measurement", 3)
        late = 0.030 / np.sqrt(2.0) * (normal(keys[:1], index) - normal(keys[:1], index - 1))
        error = 0.015 * smooth(keys[1:2], index, 100.0) + late + 0.037 * normal(keys[2:], index)
        idle_dram = self.architecture.idle_dram_share * self.idle_millijoules
        split = 0.5 + 0.04 * smooth(self._keys("packages", 1), index, 50.0)
        shares = np.concatenate([split, 1.0 - split], axis=1)
        drams = np.rint((dram + idle_dram)[:, None] * shares * (1.0 + error)).astype(np.int64)
        cores = np.rint((core + self.idle_millijoules - idle_dram)[:, None] * shares * (1.0 + error)).astype(np.int64)
        return cores + drams, drams

    def _cpu_frequencies(self, index: Ints, frequency: Floats) -> Ints:
        """What the exporter says of each logical CPU: looked at once a minute, kHz, cores around the mean."""
        looked = index // _FREQUENCY_HELD_INTERVALS
        cpus = round(2 * self.cores)
        minutes, back = np.unique(looked, return_inverse=True)
        # A minute that began before `index` does is only ever one that nobody asked for: the warming up is longer.
        first = np.searchsorted(index, minutes * _FREQUENCY_HELD_INTERVALS)
        mean = frequency.mean(axis=1)[first]
        spread = 1.0 + 0.06 * normal(self._keys("cpus", cpus), minutes)
        kilohertz: Ints = np.rint(mean[:, None] * spread * 1e6).astype(np.int64)
        return kilohertz[back.reshape(-1)]


class Cluster:
    """All nodes of a specification."""

    def __init__(self, spec: SimulationSpec) -> None:
        self.spec = spec
        self.nodes = tuple(Node(spec, number) for number in range(spec.nodes))
