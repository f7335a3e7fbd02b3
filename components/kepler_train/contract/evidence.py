"""How sure a model is where nothing measures it: idle energies, and the split of a node's energy among its pods."""

from __future__ import annotations

from enum import Enum

import msgspec


class IdleSource(str, Enum):
    """What tells a node's idle energy; the value is what documents hold."""

    QUIET = "quiet intervals"
    """The node rested now and then in the window itself."""
    FURTHER = "further window"
    """A further window, in which the node rested all the time."""
    EXTRAPOLATED = "extrapolated"
    """The node never rested: its energy was followed down to no activity, which the window does not show."""


class IdleEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How sure a node's idle energy is: the 95 % interval it lies in, mJ per interval, and what tells."""

    low_millijoules: float
    high_millijoules: float
    source: IdleSource


class SplitVerdict(str, Enum):
    """What the data say of the split."""

    DETERMINED = "determined"
    PARTLY = "partly a guess"
    GUESS = "a guess"
    UNKNOWN = "not known"
    """The features follow nodes' energy too loosely: noise of their own makes workloads look independent."""


DETERMINED_CONDITION, GUESS_CONDITION = 16.0, 20.0
"""Simulated clusters of three seeds have 4 to 14 where workloads vary independently, nodes run different mixes or each
workload ran alone for a while, and 20 to 28 where all follow one load curve or all but one keep still."""
LEAST_CORRELATION = 0.75
"""Below it, a feature tells more of itself than of energy."""


class SplitEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How well a window tells workloads apart by what their node used.

    A condition number says how much an error in nodes' energies grows in the split: of the activities of up to seven
    workloads with the most, and of all others together, over node intervals, relative to each one's energy.
    """

    feature: str
    """What activity is measured by: the feature that nodes' energy follows best."""
    correlation: float
    """Of that feature's sum over pods with energy, within nodes."""
    condition: float
    """Over all nodes together, a workload of several nodes being one."""
    condition_of_node: dict[str, float]
    together: tuple[tuple[str, ...], ...] = ()
    """Sets of workloads, `namespace/name`, that rise and fall together on all their nodes; most active first."""
    still: tuple[str, ...] = ()
    """Workloads that hardly vary: idle and they look alike."""

    @property
    def verdict(self) -> SplitVerdict:
        """What this means for models that are fitted to all nodes together, as the shipped ones are."""
        return self.verdict_of(self.condition)

    def verdict_of(self, condition: float) -> SplitVerdict:
        """What a condition number, of a node or of all, means here."""
        if condition >= GUESS_CONDITION:
            return SplitVerdict.GUESS
        if self.correlation < LEAST_CORRELATION:
            return SplitVerdict.UNKNOWN
        return SplitVerdict.DETERMINED if condition <= DETERMINED_CONDITION else SplitVerdict.PARTLY
