"""A node's idle energy, from the intervals in which its pods did least.

A node's energy is what it uses when nothing runs plus what its pods cause. Only the sum is measured, so a fit that is
free in both hands idle energy to pods that are always on. What quiet intervals show is therefore used as a prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

QUIET_SHARES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""How many of a node's intervals, those with least activity, may count as quiet."""
LEAST_QUIET_INTERVALS = 16
SMALLEST_UNCERTAINTY = 0.01
"""Of the node's mean energy."""
CURVATURE = 0.5
"""Share of what is extrapolated that a bend below the quietest intervals may hide."""
_UNORDERED_QUANTILE, _UNORDERED_UNCERTAINTY = 0.1, 0.1
_HUBER_THRESHOLD = 1.345
_ROUNDS = 3


@dataclass(frozen=True)
class Idle:
    """An estimate of a node's idle energy per interval, and what it can be at most."""

    millijoules: float
    uncertainty_millijoules: float
    ceiling_millijoules: float


def estimate_idle(intervals: Mapping[str, Array]) -> dict[str, Idle]:
    """Estimate each node's idle energy from rows of (sums of each feature over pods..., node energy), (k, n + 1)."""
    weights = _activity_weights(list(intervals.values()))
    return {node: _estimate(rows[:, :-1] @ weights, rows[:, -1]) for node, rows in intervals.items()}


def _activity_weights(nodes: list[Array]) -> Array:
    """How much each feature says of a node's activity: its squared correlation with energy within nodes, per mean."""
    centred = np.concatenate([rows - rows.mean(axis=0) for rows in nodes])
    mean = np.concatenate(nodes).mean(axis=0)[:-1]
    spread = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    scale = spread[:-1] * spread[-1]
    correlation = np.divide(centred[:, -1] @ centred[:, :-1], scale, out=np.zeros_like(scale), where=scale > 0)
    weights: Array = np.divide(np.maximum(correlation, 0.0) ** 2, mean, out=np.zeros_like(mean), where=mean > 0)
    return weights


def _estimate(activity: Array, energy: Array) -> Idle:
    """Extrapolate the energy of quiet intervals to no activity, from as many of them as makes it most certain.

    Few intervals are noisy, and many reach into a load in which power bends. Where activity does not order energy
    (quiet intervals use much), the node's own low energies stand in.
    """
    order = np.argsort(activity, kind="stable")
    smallest = SMALLEST_UNCERTAINTY * float(energy.mean())
    best: Idle | None = None
    for share in QUIET_SHARES:
        quiet = order[: max(LEAST_QUIET_INTERVALS, int(len(order) * share))]
        level, intercept, error = _robust_line(activity[quiet], energy[quiet])
        if level > np.quantile(energy, min(share + 0.25, 1.0)):
            continue
        uncertainty = float(np.sqrt(error**2 + (CURVATURE * (level - intercept)) ** 2 + smallest**2))
        if intercept > 0 and (best is None or uncertainty < best.uncertainty_millijoules):
            best = Idle(intercept, uncertainty, level + 2 * smallest)
    if best is None:
        low = float(np.quantile(energy, _UNORDERED_QUANTILE))
        best = Idle(low, _UNORDERED_UNCERTAINTY * low + smallest, low)
    return best


def _robust_line(activity: Array, energy: Array) -> tuple[float, float, float]:
    """Fit energy = intercept + slope · activity, slope ≥ 0: mean energy, intercept, the intercept's standard error."""
    weight = 1 / energy**2
    for _ in range(_ROUNDS):
        total = weight.sum()
        x, level = float(weight @ activity / total), float(weight @ energy / total)
        spread = float(weight @ (activity - x) ** 2)
        slope = max(float(weight @ ((activity - x) * (energy - level))) / spread, 0.0) if spread > 0 else 0.0
        errors = np.abs(level + slope * (activity - x) - energy) / energy
        usual = 1.4826 * float(np.median(errors)) + np.finfo(np.float64).eps
        weight = np.minimum(1.0, _HUBER_THRESHOLD * usual / np.maximum(errors, usual)) / energy**2
    error = usual * float(np.sqrt(1 / total + (x**2 / spread if slope > 0 else 0.0)))
    return level, level - slope * x, error
