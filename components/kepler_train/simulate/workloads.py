"""Kinds of workloads, the places for pods on a node, the pods that come and go there, and what their work is like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.contract.errors import WrongUsage
from kepler_train.simulate.physics import Work
from kepler_train.simulate.randomness import Floats, Ints, Keys, key_of, keys_of, normal, smooth, stretches, uniform
from kepler_train.simulate.spec import Scenario, SimulationSpec


@dataclass(frozen=True)
class Kind:
    """A kind of workload. Magnitudes are typical of what is published for servers of Broadwell's generation."""

    name: str
    namespace: str
    command: str
    cycles_per_instruction: float
    """With all data in cache, alone on a core."""
    instruction_energy: float
    """nJ at the reference voltage."""
    misses_per_kilo_instruction: float
    miss_overlap: float
    """How many misses are under way at once."""
    kernel_share: float
    """Work that kernel threads do for it (softirq, writeback, ...), per work of its own; no pod is told of it."""
    job: bool
    """Comes and goes, with more or fewer threads at full duty; else a service whose threads are more or less busy."""
    bytes_written_per_second: float = 0.0
    memory_megabytes: float = 200.0
    pod_intervals: float = 20_000.0
    """How long one of its pods lives, on average."""


KINDS = (
    Kind("compute", "batch", "coremark", 0.42, 0.33, 0.2, 4.0, 0.03, True, 0.0, 50.0, 300.0),
    Kind("database", "data", "postgres", 0.85, 0.56, 6.0, 3.0, 0.16, False, 4e5, 2000.0),
    Kind("stream", "analytics", "java", 0.60, 0.56, 12.0, 9.0, 0.05, True, 5e4, 4000.0, 500.0),
    Kind("web", "shop", "node", 0.95, 0.54, 3.0, 3.0, 0.18, False, 2e3, 300.0, 2000.0),
    Kind("vector", "inference", "python3", 0.72, 0.72, 3.5, 6.0, 0.04, True, 0.0, 1500.0, 700.0),
    Kind("cache", "data", "redis-serve", 0.80, 0.50, 12.0, 2.5, 0.20, False, 1e4, 3000.0),
    Kind("compress", "batch", "zstd", 0.62, 0.38, 1.5, 3.0, 0.06, True, 8e5, 150.0, 250.0),
    Kind("video", "media", "ffmpeg", 0.50, 0.52, 0.9, 4.0, 0.04, True, 2e5, 400.0, 400.0),
)
"""What the platform's users run."""

SERVICE = Kind("service", "monitoring", "exporter", 1.10, 0.50, 4.0, 2.5, 0.0, False, 0.0, 60.0)
"""Small pods that are always on."""

SYSTEM = Kind("system", "system", "kworker", 1.20, 0.48, 5.0, 2.5, 0.0, False, 3e4, 0.0)
"""Everything the exporter knows no pod of: kernel threads, daemons, processes that were gone too soon."""

SYSTEM_POD = "system_processes"
_SERVICE_NAMES = ("node-exporter", "dns-default", "kube-proxy", "log-agent", "csi-node", "metrics-agent")
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_PAUSE_INTERVALS = 4
"""Between a pod's end and the start of the one that takes its place."""


@dataclass(frozen=True)
class Places:
    """The places for pods on one node, (s,) each: the system first, then services, then workloads."""

    seed: int
    node: str
    kinds: tuple[Kind, ...]
    names: tuple[str, ...]
    """What the names of a place's pods begin with."""
    threads: Floats
    """Most threads that a place's pod runs."""
    services: int

    @property
    def workloads(self) -> slice:
        """Where the workloads stand."""
        return slice(1 + self.services, len(self.kinds))

    def keys(self, purpose: str) -> Keys:
        """One key per place for what is drawn for this purpose."""
        return keys_of(len(self.kinds), self.seed, self.node, purpose)

    def each(self, attribute: str) -> Floats:
        """One number of each place's kind, (1, s)."""
        return np.array([[float(getattr(kind, attribute)) for kind in self.kinds]])


@dataclass(frozen=True)
class Pods:
    """Which pod stands in each place at each interval, (t, s)."""

    generation: Ints
    present: npt.NDArray[np.bool_]


def places_of(spec: SimulationSpec, node: str, cores: float) -> Places:
    """Lay out a node's places; raises WrongUsage where a kind that is left out is not known, or none is left."""
    names = [kind.name for kind in KINDS]
    if unknown := sorted(set(spec.kinds_left_out) - set(names)):
        raise WrongUsage(f"no kind of workload is called {', '.join(unknown)}; there are {', '.join(names)}")
    left = [kind for kind in KINDS if kind.name not in spec.kinds_left_out]
    if not left:
        raise WrongUsage("all kinds of workload are left out; leave at least one in")
    services = max(1, round(0.38 * (spec.pods_per_node - 1)))
    workloads = spec.pods_per_node - 1 - services
    kinds = [left[place % len(left)] for place in range(workloads)]
    return Places(
        seed=spec.seed,
        node=node,
        kinds=(SYSTEM, *[SERVICE] * services, *kinds),
        names=(
            SYSTEM_POD,
            *(_SERVICE_NAMES[place % len(_SERVICE_NAMES)] for place in range(services)),
            *(kind.name for kind in kinds),
        ),
        threads=np.concatenate(
            [np.zeros(1), np.full(services, 0.25 * spec.node_scale), _threads(spec, node, workloads, cores)]
        ),
        services=services,
    )


def _threads(spec: SimulationSpec, node: str, workloads: int, cores: float) -> Floats:
    keys = keys_of(workloads, spec.seed, node, "threads")
    now = np.zeros(1, dtype=np.int64)
    size = np.exp((0.8 if spec.scenario is Scenario.MIXES else 0.25) * normal(keys, now)[0])
    if spec.scenario is Scenario.MIXES and workloads > 1:
        size = np.where(uniform(keys, now + 1)[0] < 0.25, 0.02, size)
    threads: Floats = size / size.sum() * 1.15 * cores
    return threads


def pods_at(places: Places, index: Ints) -> Pods:
    """Tell which pod stands in each place: jobs end and others take their place, after a pause."""
    lifetimes = places.each("pod_intervals")[0]
    generation, age = stretches(places.keys("pods"), index, lifetimes)
    present = age >= _PAUSE_INTERVALS
    present[:, 0] = True
    generation[:, 0] = 0
    return Pods(generation, present)


def pod_name(places: Places, place: int, generation: int) -> str:
    """Name a pod the way Kubernetes does: a deployment's or daemon set's name and what makes it unique."""
    if place == 0:
        return SYSTEM_POD
    unique = int(key_of(places.seed, places.node, place, generation, "name"))
    suffix = "".join(_NAME_LETTERS[unique // len(_NAME_LETTERS) ** digit % len(_NAME_LETTERS)] for digit in range(5))
    if place <= places.services:
        return f"{places.names[place]}-{suffix}"
    return f"{places.names[place]}-{unique >> 32:08x}-{suffix}"


def work_of(places: Places, pods: Pods, threads: Floats, duty: Floats, index: Ints) -> Work:
    """Describe what the pods run: their kind, what is special about each pod, and the phases it goes through."""

    def vary(purpose: str, between_pods: float, slowly: float, quickly: float) -> Floats:
        """A factor around 1 from standard deviations between pods, over minutes, and over seconds."""
        keys = places.keys(purpose)
        slow, quick = smooth(keys, index, 60.0), smooth(~keys, index, 6.0)
        factor: Floats = np.exp(between_pods * normal(keys, pods.generation) + slowly * slow + quickly * quick)
        return factor

    return Work(
        threads=threads,
        cycles_per_instruction=places.each("cycles_per_instruction") * vary("cpi", 0.04, 0.05, 0.02),
        instruction_energy=places.each("instruction_energy") * vary("energy", 0.025, 0.015, 0.01),
        misses_per_instruction=places.each("misses_per_kilo_instruction") * 1e-3 * vary("misses", 0.1, 0.15, 0.05),
        miss_overlap=places.each("miss_overlap") * vary("overlap", 0.05, 0.03, 0.01),
        siblings=vary("siblings", 0.08, 0.08, 0.04),
        duty=duty,
    )
