"""A model of a whole node, which no estimator could ask for one pod, but shows how the node's energy splits.

What a node's pods share saturates with what they do in all: the first busy cores and the first misses of a cache wake
what serves all that follow, and threads that share a core get less done. A sum of functions that each see one pod can
imitate that only by bending for each pod, which gives too much to small pods and too little to large ones. So it is
first fitted where it belongs:

    energy = idle + Σ work of a pod + Σ curve of a feature (its total over the node)

with the work of a pod a non-negative sum of proportional functions, and each curve growing and flattening out. A pod's
part is its work and, of each curve, its share of the feature. The idle energy comes out of the same fit: curves follow
quiet intervals down to no activity where a straight line would stay too high.

Work and curves tell much the same story where pods move together, and a ridge shares the energy out among them. With
too much of it, energy is left unexplained; with too little, noise decides what gets it; how much is right depends on
the window. So models are fitted with little to much of it, and those that predict held-out intervals about as well as
the best are averaged: where the window cannot tell them apart, their mean is off by less than most of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.basis import Basis
from kepler_train.train.additive.huber import huber
from kepler_train.train.additive.moments import Moments, Prior, held_out_loss, moments_of
from kepler_train.train.additive.nnls import nnls
from kepler_train.train.additive.sample import IntervalRows

Array = npt.NDArray[np.float64]

CURVE_KNOTS = np.geomspace(0.02, 1.2, 10)
RIDGES = (3e-4, 3e-3, 3e-2, 3e-1)
"""On coefficients in units of the mean energy: of functions that tell the same story, each gets a share."""
AS_GOOD = 1.04
"""Models with so many times the least held-out loss, or less, count as equally good: 2 % of the error."""
_SCALE_QUANTILE = 0.995


@dataclass(frozen=True)
class Curve:
    """How energy rises with the total of one feature over a node: Σ heights · min(total/scale, knot)/knot."""

    unit: int
    """The unit that is the feature itself."""
    scale: float
    """Much of it, for a node."""
    heights: Array
    """One for each knot, mJ."""

    def energy(self, total: Array) -> Array:
        """The energy, (k,) mJ, at so much of the feature in all, (k,)."""
        energy: Array = saturations(total, self.scale) @ self.heights
        return energy

    def energy_each(self, total: Array) -> Array:
        """What one of it costs, (k,) mJ, at so much of the feature in all, (k,)."""
        return np.divide(self.energy(total), total, out=np.zeros_like(total), where=total > 0)


@dataclass(frozen=True)
class NodeModel:
    """What pods do by themselves, what they cause together, and what the node uses without them."""

    work: Array
    """(H,): a pod's work by its units, in mJ."""
    curves: tuple[Curve, ...]
    idle_millijoules: Array
    """(N,)"""
    held_out_loss: float
    """The mean squared relative error on intervals it was not fitted to; 0 where there are too few to hold any out."""

    def errors(self, rows: IntervalRows) -> Array:
        """How far the model is from what was measured, (k,), relative to it."""
        fitted: Array = rows.sums @ self.work + self.idle_millijoules[rows.node]
        for curve in self.curves:
            fitted += curve.energy(rows.sums[:, curve.unit])
        return fitted / rows.energy_millijoules - 1

    def parts(self, units: Array, sums: Array, interval: npt.NDArray[np.int64]) -> Array:
        """Each pod's part of its node's energy, (s,) mJ.

        From its units, (H, s), the unit sums of intervals, (k, H), and which of these is its own, (s,).
        """
        parts: Array = self.work @ units
        for curve in self.curves:
            parts += units[curve.unit] * curve.energy_each(sums[:, curve.unit])[interval]
        return np.maximum(parts, 0.0, out=parts)


def fit_node_model(
    rows: IntervalRows, basis: Basis, prior: Prior, fold: npt.NDArray[np.int64], folds: int
) -> NodeModel:
    """Fit work, curves and idle energies at once, intervals weighed by how far they were off.

    `fold`, (k,), says which of so many `folds` each interval is held out with.
    """
    functions = basis.columns[:, basis.proportional]
    scales = {unit: float(np.quantile(rows.sums[:, unit], _SCALE_QUANTILE)) for unit in basis.shared}
    scales = {unit: scale for unit, scale in scales.items() if scale > 0}
    curves = [saturations(rows.sums[:, unit], scale) for unit, scale in scales.items()]
    columns = replace(rows, sums=np.hstack([rows.sums @ functions, *curves]))
    reluctance = np.concatenate(
        [np.ones(functions.shape[1]), *(np.full(len(CURVE_KNOTS), basis.shared[unit]) for unit in scales)]
    )
    weight = np.ones(len(rows.node))
    for folds_told_apart in (False, True):  # for the weights any ridge will do
        moments = moments_of(columns, weight, fold, (folds, len(prior.millijoules)))
        told = moments if folds_told_apart else moments.of(range(folds))
        found, loss = _coefficients(told, prior, reluctance)
        work, heights = found[: functions.shape[1]], found[functions.shape[1] :].reshape(-1, len(CURVE_KNOTS))
        model = NodeModel(
            work=functions @ work,
            curves=tuple(Curve(*curve, heights=mine) for curve, mine in zip(scales.items(), heights, strict=True)),
            idle_millijoules=np.clip(moments.idle(prior, found), 0.0, prior.ceiling_millijoules),
            held_out_loss=loss,
        )
        weight = huber(model.errors(rows))
    return model


def _coefficients(moments: Moments, prior: Prior, reluctance: Array) -> tuple[Array, float]:
    """The mean of what ridges give that predict held-out folds about as well as the best, and that one's loss."""

    def solve(part: Moments, ridge: float) -> Array:
        gram, moment, _constant = part.without_idle(prior)
        strength = float(part.intervals.sum()) * ridge / prior.mean_millijoules**2
        return nnls(gram + np.diag(strength * reluctance), moment)

    losses = np.zeros(len(RIDGES))
    if len(moments.products) > 1:
        losses[:] = [held_out_loss(moments, prior, partial(solve, ridge=ridge)) for ridge in RIDGES]
        losses = np.maximum(losses, 0.0)  # what is exact may be a little below, by rounding
    chosen = [ridge for ridge, loss in zip(RIDGES, losses, strict=True) if loss <= AS_GOOD * losses.min()]
    return np.mean([solve(moments, ridge) for ridge in chosen], axis=0), float(losses.min())


def saturations(total: Array, scale: float) -> Array:
    """Functions of a node's total, (k,), that grow up to a knot and stay: (k, knots), each 1 at the end."""
    relative: Array = np.minimum(total[:, None] / scale, CURVE_KNOTS) / CURVE_KNOTS
    return relative
