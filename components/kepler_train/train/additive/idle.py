"""A node's idle energy, from the intervals in which its pods did least, and how sure it is.

A node's energy is what it uses when nothing runs plus what its pods cause. Only the sum is measured, so a fit that is
free in both hands idle energy to pods that are always on. What quiet intervals show is therefore used as a prior.

Quiet intervals are followed down to no activity on a straight line. Power rises ever more slowly with activity, so the
line of a node that never rests is at least as steep as from there to the node's mean, and idle may lie as far below the
line again as it was followed; a quarter of that is expected, since what the first busy core wakes is seen in no such
window. The interval of uncertainty takes in all of it, beside the line's standard error over blocks of time (which are
alike within: Liang and Zeger, 1986) and the dilution of its slope by activity that tells power badly. It is wider than
the line alone would make it, and meant to be: the bend below the window cannot be seen in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.contract.evidence import IdleEvidence, IdleSource
from kepler_train.train.additive.huber import huber

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

QUIET_SHARES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""How many of a node's intervals, those with least activity, may count as quiet."""
LEAST_QUIET_INTERVALS = 16
SMALLEST_UNCERTAINTY = 0.01
"""Of the energy of quiet intervals: a sensor's own drift over minutes."""
CURVATURE = 0.5
"""Share of what is extrapolated that a bend below the quietest intervals hides, give or take as much again."""
HIDDEN = 0.25
"""Share of what is extrapolated by which the idle energy of a node that never rests is put below its line: a recorded
node that is shown only where it works lies lower still, a simulated one without any wake-up on the line."""
EXTRAPOLATED_SHARE = 0.25
"""A node whose quietest intervals owe more than this share of their energy to pods never rests."""
RESTING = 1.15
"""A stretch of time is one of rest if half of its intervals use less than so many times what quiet intervals use."""
_STANDARD_ERRORS = 2.0
_LEAST_RELIABILITY = 0.1
_LEAST_DISTANCE = 0.02
_UNORDERED_QUANTILE, _UNORDERED_UNCERTAINTY = 0.1, 0.1
_ROUNDS = 3


@dataclass(frozen=True)
class Idle:
    """An estimate of a node's idle energy per interval, what it can be at most, and how sure it is."""

    millijoules: float
    uncertainty_millijoules: float
    ceiling_millijoules: float
    evidence: IdleEvidence

    def evidence_of(self, fitted_millijoules: float) -> IdleEvidence:
        """How sure a value is that was fitted with this estimate as a prior: the interval holds both."""
        low, high = self.evidence.low_millijoules, self.evidence.high_millijoules
        return IdleEvidence(min(low, fitted_millijoules), max(high, fitted_millijoules), self.evidence.source)


@dataclass(frozen=True)
class _Node:
    """A node's intervals, (k,) each, sorted by activity."""

    activity: Array
    energy: Array
    block: Integers
    stretch: Integers


@dataclass(frozen=True)
class _Line:
    """Mean energy of quiet intervals and the energy without activity, with their standard errors."""

    level: float
    intercept: float
    lowest_intercept: float
    """By the steeper of the line's own slope and the slope up to the means of all intervals."""
    level_error: float
    intercept_error: float


def estimate_idle(intervals: Mapping[str, Sequence[Array]]) -> dict[str, Idle]:
    """Estimate each node's idle energy.

    A node has an array for each stretch of time, of rows (sums of each feature over pods..., node energy, start of the
    block of time), (k, n + 2).
    """
    rows = {node: np.concatenate(stretches) for node, stretches in intervals.items()}
    weights = _activity_weights([of_node[:, :-1] for of_node in rows.values()])
    return {node: _estimate(_by_activity(rows[node], weights, stretches)) for node, stretches in intervals.items()}


def _activity_weights(nodes: list[Array]) -> Array:
    """How much each feature says of a node's activity: its squared correlation with energy within nodes, per mean."""
    centred = np.concatenate([rows - rows.mean(axis=0) for rows in nodes])
    mean = np.concatenate(nodes).mean(axis=0)[:-1]
    spread = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    scale = spread[:-1] * spread[-1]
    correlation = np.divide(centred[:, -1] @ centred[:, :-1], scale, out=np.zeros_like(scale), where=scale > 0)
    weights: Array = np.divide(np.maximum(correlation, 0.0) ** 2, mean, out=np.zeros_like(mean), where=mean > 0)
    return weights


def _by_activity(rows: Array, weights: Array, stretches: Sequence[Array]) -> _Node:
    activity = rows[:, :-2] @ weights
    order = np.argsort(activity, kind="stable")
    stretch = np.repeat(np.arange(len(stretches)), [len(part) for part in stretches])
    _, block = np.unique(rows[:, -1], return_inverse=True)
    return _Node(activity[order], rows[order, -2], block[order], stretch[order])


def _estimate(node: _Node) -> Idle:
    """Extrapolate the energy of quiet intervals to no activity, from as many of them as makes it most certain.

    Few intervals are noisy, and many reach into a load in which power bends. Where activity does not order energy
    (quiet intervals use much), the node's own low energies stand in.
    """
    best: tuple[float, int, _Line] | None = None
    usual = np.quantile(node.energy, np.minimum(np.array(QUIET_SHARES) + 0.25, 1.0))
    for share, most in zip(QUIET_SHARES, usual, strict=True):
        quiet = min(max(LEAST_QUIET_INTERVALS, int(len(node.energy) * share)), len(node.energy))
        line = _robust_line(node, quiet)
        if line.level > most or line.intercept <= 0:
            continue
        bend, drift = CURVATURE * (line.level - line.intercept), SMALLEST_UNCERTAINTY * line.level
        uncertainty = float(np.sqrt(line.intercept_error**2 + bend**2 + drift**2))
        if best is None or uncertainty < best[0]:
            best = uncertainty, quiet, line
    if best is None:
        low = float(np.quantile(node.energy, _UNORDERED_QUANTILE))
        uncertainty = _UNORDERED_UNCERTAINTY * low
        return Idle(low, uncertainty, low, IdleEvidence(0.0, low + uncertainty, IdleSource.EXTRAPOLATED))
    uncertainty, quiet, line = best
    ceiling = line.level * (1 + 2 * SMALLEST_UNCERTAINTY)
    return Idle(line.intercept - _hidden(line), uncertainty, ceiling, _evidence(node, quiet, line))


def _hidden(line: _Line) -> float:
    """How much lower than its line the idle energy of a node that never rests is expected."""
    extrapolated = line.level - line.lowest_intercept
    return HIDDEN * extrapolated if extrapolated > EXTRAPOLATED_SHARE * line.level else 0.0


def _evidence(node: _Node, quiet: int, line: _Line) -> IdleEvidence:
    drift = 2 * SMALLEST_UNCERTAINTY * line.level
    reliability = _reliability(node)
    if reliability < _LEAST_RELIABILITY:
        return IdleEvidence(0.0, line.level + drift, IdleSource.EXTRAPOLATED)
    caused = (line.level - line.lowest_intercept) / reliability
    low = line.level - (1 + 2 * CURVATURE) * caused - _STANDARD_ERRORS * line.intercept_error - drift
    high = min(
        line.intercept + _STANDARD_ERRORS * line.intercept_error,
        line.level + _STANDARD_ERRORS * line.level_error,
    )
    extrapolated = caused > EXTRAPOLATED_SHARE * line.level
    source = IdleSource.EXTRAPOLATED if extrapolated else _where(node, quiet, line)
    return IdleEvidence(min(max(low, 0.0), line.intercept), high + drift, source)


def _reliability(node: _Node) -> float:
    """The share of an activity's variance that energy follows: noise in activity flattens slopes by as much."""
    spread = float(node.activity.std() * node.energy.std())
    if not spread:
        return 0.0
    covariance = float(np.mean((node.activity - node.activity.mean()) * (node.energy - node.energy.mean())))
    return max(covariance / spread, 0.0) ** 2


def _where(node: _Node, quiet: int, line: _Line) -> IdleSource:
    """Tell whether quiet intervals are of stretches of time in which the node did nothing else than rest."""
    count = int(node.stretch.max()) + 1
    resting = np.array(
        [np.median(node.energy[node.stretch == stretch]) < RESTING * line.level for stretch in range(count)]
    )
    further = not resting.all() and resting[node.stretch[:quiet]].mean() > 0.5
    return IdleSource.FURTHER if further else IdleSource.QUIET


def _robust_line(node: _Node, quiet: int) -> _Line:
    """Fit energy = intercept + slope · activity, slope ≥ 0, to the quietest intervals, with Huber's weights."""
    activity, energy, block = node.activity[:quiet], node.energy[:quiet], node.block[:quiet]
    weight = 1 / energy**2
    for _ in range(_ROUNDS):
        total = weight.sum()
        x, level = float(weight @ activity / total), float(weight @ energy / total)
        spread = float(weight @ (activity - x) ** 2)
        own = float(weight @ ((activity - x) * (energy - level))) / spread if spread > 0 else 0.0
        weight = huber((level + max(own, 0.0) * (activity - x)) / energy - 1) / energy**2
    left = weight * (energy - level - own * (activity - x))
    along = 1 / total - (x * (activity - x) / spread if spread > 0 else 0.0)
    steeper = max(own, _slope_to_mean(node, x, level), 0.0)
    rests = steeper * x <= EXTRAPOLATED_SHARE * level
    return _Line(
        level=level,
        intercept=level - (max(own, 0.0) if rests else steeper) * x,
        lowest_intercept=level - steeper * x,
        level_error=_standard_error(left / total, block),
        intercept_error=_standard_error(left * along, block),
    )


def _slope_to_mean(node: _Node, activity: float, energy: float) -> float:
    """The slope from a point up to the means of all intervals; 0 where that is too near to have one."""
    further = float(node.activity.mean()) - activity
    return (float(node.energy.mean()) - energy) / further if further > _LEAST_DISTANCE * activity else 0.0


def _standard_error(influence: Array, block: Integers) -> float:
    """Standard error of an estimate from how each interval moves it; intervals of one block are alike."""
    by_block = np.bincount(block, influence)
    blocks = max(int(np.count_nonzero(np.bincount(block))), 2)
    return float(np.sqrt(max(influence @ influence, by_block @ by_block * blocks / (blocks - 1))))
