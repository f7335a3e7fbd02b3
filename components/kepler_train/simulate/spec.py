"""What to simulate: one frozen description that, with its seed, fixes every number that comes out."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum

import msgspec

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.window import INTERVAL_SECONDS

_MOST_SECONDS = 366 * 86_400.0


class Scenario(str, Enum):
    """Patterns of load: how the workloads of a node move together or apart."""

    INDEPENDENT = "independent"
    """Every workload varies by itself."""
    MIXES = "mixes"
    """Nodes run different mixes of the same kinds; the workloads of a node move mostly together."""
    ONE_CURVE = "one-curve"
    """All workloads of a node follow one load curve."""
    ONE_VARIES = "one-varies"
    """One workload varies, all others stay as they are."""
    CALIBRATION = "calibration"
    """Each workload runs alone for a while, in turn."""
    IDLE = "idle"
    """No workload runs; only what is always there."""


class World(str, Enum):
    """Whose frequency it is."""

    SHARED = "shared"
    """All cores of a node run at one frequency."""
    OWN_FREQUENCY = "own-frequency"
    """Each core has its own voltage and frequency, so each pod has."""


class SimulationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cluster and the span of its life to look at.

    The cluster follows from all fields but `start` and `duration_seconds`: a later start shows the same cluster later.
    """

    seed: int = 1
    start: datetime = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
    duration_seconds: float = 7200.0
    """In two hours about 24 blocks are held out; of 40 minutes there may be three, which tell nothing from noise."""
    nodes: int = 3
    pods_per_node: int = 14
    """Places for pods: `system_processes`, always-on services, and workloads in the places that are left."""
    scenario: Scenario = Scenario.INDEPENDENT
    world: World = World.SHARED
    node_scale: float = 1.0
    """Size of a node: cores, idle power and what its workloads ask for, against the recorded machine's."""
    architectures: tuple[str, ...] = ("Broadwell",)
    """Given to the nodes in turn."""
    kinds_left_out: tuple[str, ...] = ()
    """Kinds of workload that this cluster never runs."""
    rests: bool = True
    """False: workloads never pause, so the window shows no idle time at all."""
    faults: bool = True
    """Exporter restarts, counters that wrap, impossible values, duplicates: what real recordings hold."""

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated; raises WrongUsage."""
        if self.start.tzinfo is None:
            raise WrongUsage(f"start {self.start} has no time zone; give it in UTC, such as 2026-01-05T08:00:00Z")
        for field, least in (("nodes", 1), ("pods_per_node", 3), ("duration_seconds", INTERVAL_SECONDS)):
            if not getattr(self, field) >= least:  # nor is NaN
                raise WrongUsage(f"{field} is {getattr(self, field)}; a simulation needs at least {least:g}")
        if self.duration_seconds > _MOST_SECONDS:
            raise WrongUsage(f"duration_seconds is {self.duration_seconds:g}; a simulation takes a year at most")
        if not self.node_scale > 0:
            raise WrongUsage(f"node_scale is {self.node_scale}; give a positive factor, such as 2")

    @property
    def first_interval(self) -> int:
        """Absolute number of the first interval that ends after `start`."""
        return int(self.start.timestamp() // INTERVAL_SECONDS) + 1

    @property
    def intervals(self) -> int:
        """How many intervals the span holds."""
        return int(self.duration_seconds // INTERVAL_SECONDS)
