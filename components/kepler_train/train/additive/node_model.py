"""A model of a whole node, which no estimator could ask for one pod, but shows how the node's energy splits.

What a node's pods share saturates with what they do in all: the first busy cores and the first misses of a cache wake
what serves all that follow, and threads that share a core get less done. A sum of functions that each see one pod can
imitate that only by bending for each pod, which gives too much to small pods and too little to large ones. So it is
first fitted where it belongs:

    energy = idle + Σ work of a pod + Σ curve of a feature (its total over the node)

with the work of a pod a non-negative sum of proportional functions, and each curve growing and flattening out. A pod's
part is its work and, of each curve, its share of the feature. The idle energy comes out of the same fit: curves follow
quiet intervals down to no activity where a straight line would stay too high.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.basis import Basis
from kepler_train.train.additive.huber import huber
from kepler_train.train.additive.moments import Prior, moments_of
from kepler_train.train.additive.nnls import nnls
from kepler_train.train.additive.sample import IntervalRows

Array = npt.NDArray[np.float64]

CURVE_KNOTS = np.geomspace(0.02, 1.2, 10)
RIDGE = 1e-2
"""On coefficients in units of the mean energy: of functions that tell the same story, each gets a share."""
_SCALE_QUANTILE = 0.995
_ROUNDS = 3


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
        return parts


def fit_node_model(rows: IntervalRows, basis: Basis, prior: Prior) -> NodeModel:
    """Fit work, curves and idle energies at once, intervals weighed by how far they were off."""
    functions = basis.columns[:, basis.proportional]
    scales = {unit: float(np.quantile(rows.sums[:, unit], _SCALE_QUANTILE)) for unit in basis.shared}
    scales = {unit: scale for unit, scale in scales.items() if scale > 0}
    curves = [saturations(rows.sums[:, unit], scale) for unit, scale in scales.items()]
    columns = replace(rows, sums=np.hstack([rows.sums @ functions, *curves]))
    reluctance = [np.ones(functions.shape[1]), *(np.full(len(CURVE_KNOTS), basis.shared[unit]) for unit in scales)]
    ridge = np.diag(len(rows.node) * RIDGE / prior.mean_millijoules**2 * np.concatenate(reluctance))
    weight, one_fold = np.ones(len(rows.node)), np.zeros(len(rows.node), dtype=np.int64)
    for _ in range(_ROUNDS):
        moments = moments_of(columns, weight, one_fold, (1, len(prior.millijoules)))
        gram, moment, _constant = moments.without_idle(prior)
        found = nnls(gram + ridge, moment)
        work, heights = found[: functions.shape[1]], found[functions.shape[1] :].reshape(-1, len(CURVE_KNOTS))
        model = NodeModel(
            work=functions @ work,
            curves=tuple(Curve(*curve, heights=mine) for curve, mine in zip(scales.items(), heights, strict=True)),
            idle_millijoules=np.clip(moments.idle(prior, found), 0.0, prior.ceiling_millijoules),
        )
        weight = huber(model.errors(rows))
    return model


def saturations(total: Array, scale: float) -> Array:
    """Functions of a node's total, (k,), that grow up to a knot and stay: (k, knots), each 1 at the end."""
    relative: Array = np.minimum(total[:, None] / scale, CURVE_KNOTS) / CURVE_KNOTS
    return relative
