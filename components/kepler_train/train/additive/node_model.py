"""A model of a node's energy that knows all its pods: it cannot be served, but shows how its energy splits.

Turbo, shared caches and threads that share a core bend a node's energy with the node's load, not with one pod's. A sum
of functions that each see one pod can imitate that bend only by bending for each pod, which gives too much to small
pods and too little to large ones. So the bend is first fitted where it belongs:

    energy = idle + bend(Σ work of a pod)

with the work of a pod a non-negative sum of proportional functions, and bend a growing function of the node's total.
A pod's part of the energy is then its part of the work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.basis import Basis
from kepler_train.train.additive.huber import huber
from kepler_train.train.additive.interval_sums import IntervalRows
from kepler_train.train.additive.nnls import nnls

Array = npt.NDArray[np.float64]

BEND_KNOTS = np.geomspace(0.02, 1.2, 10)
WORK_RIDGE, BEND_RIDGE = 1e-3, 1e-4
"""On coefficients in units of the mean energy, but for those of linear functions."""
_SCALE_QUANTILE = 0.995
_ROUNDS = 6
_SMALLEST = 1e-9


@dataclass(frozen=True)
class NodeModel:
    """What a node's pods do, and what the node makes of that."""

    work: Array
    """(H,): the work of a pod by its units; of a node, by their sums."""
    bend: Callable[[Array], Array]
    """Gives the energy above idle, (k,), for so much work in all, (k,)."""
    scale: float
    """Much work, for a node."""
    idle_millijoules: Array
    """(N,)"""

    def errors(self, rows: IntervalRows) -> Array:
        """How far the model is from what was measured, (k,), relative to it."""
        fitted = self.bend(rows.sums @ self.work) + self.idle_millijoules[rows.node]
        return fitted / rows.energy_millijoules - 1

    def energy_per_work(self, work: Array) -> Array:
        """What one unit of work costs on a node, (k,), with so much work in all, (k,)."""
        some = np.maximum(work, _SMALLEST * self.scale)
        return self.bend(some) / some


def fit_node_model(rows: IntervalRows, basis: Basis, idle_millijoules: Array, mean_millijoules: float) -> NodeModel:
    """Fit work and bend in turn, intervals weighed by how far they were off; idle energies, (N,), are given."""
    functions = basis.columns[:, basis.proportional]
    columns = rows.sums @ functions
    caused = rows.energy_millijoules - idle_millijoules[rows.node]
    ridge = np.where(basis.linear[basis.proportional], 0.0, WORK_RIDGE / mean_millijoules**2)
    weight, per_work = np.ones(len(caused)), np.ones(len(caused))
    for _ in range(_ROUNDS):
        relative = weight / rows.energy_millijoules**2
        outputs = functions @ _least_squares(columns * per_work[:, None], caused, relative, ridge)
        work = rows.sums @ outputs
        scale = max(float(np.quantile(work, _SCALE_QUANTILE)), _SMALLEST)
        bend = _fit_bend(work, scale, caused, relative, mean_millijoules, convex=basis.convex)
        model = NodeModel(outputs, bend, scale, idle_millijoules)
        weight, per_work = huber(model, rows)(rows), model.energy_per_work(work)
    return model


def _fit_bend(
    work: Array, scale: float, caused: Array, weight: Array, mean_millijoules: float, *, convex: bool
) -> Callable[[Array], Array]:
    """Fit a growing function of work that is 0 without any; one that only flattens out, unless `convex`."""

    def functions(some: Array) -> Array:
        relative = some[:, None] / scale
        below = np.minimum(relative, BEND_KNOTS)
        return np.hstack([relative, below / BEND_KNOTS, *([relative - below] if convex else [])])

    columns = functions(work)
    ridge = np.append(0.0, np.full(columns.shape[1] - 1, BEND_RIDGE / mean_millijoules**2))
    coefficients = _least_squares(columns, caused, weight, ridge)
    return lambda some: functions(some) @ coefficients


def _least_squares(columns: Array, target: Array, weight: Array, ridge: Array) -> Array:
    weighed = columns * weight[:, None]
    return nnls(weighed.T @ columns + np.diag(len(target) * ridge), weighed.T @ target)
