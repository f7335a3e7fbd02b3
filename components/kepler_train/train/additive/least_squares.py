"""One fit: non-negative, robust, idle pinned softly, the strength of its ridge chosen by blocked cross-validation.

Minimised is the mean over node intervals of the squared relative error of (Σ pods + idle), with Huber's weights, plus
a ridge on the functions that are not linear (in units of the mean energy), plus the prior of each node's idle energy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.basis import Basis
from kepler_train.train.additive.even_sample import EvenSample
from kepler_train.train.additive.interval_sums import IntervalRows
from kepler_train.train.additive.moments import Moments, Prior, Weigh, moments_of
from kepler_train.train.additive.nnls import nnls

Array = npt.NDArray[np.float64]

RIDGES = tuple(10.0**power for power in range(-4, 5))
FIRST_RIDGE = 1e-2
"""Before the weights of intervals are known, and where there is too little to choose by."""
FOLDS = 5
NODES_FOR_FOLDS_OF_NODES = 6
HUBER_THRESHOLD = 1.345
"""In standard deviations: 95 % efficient where errors are normal."""
_SAMPLED_ERRORS = 20_000
_SMALLEST_SPREAD = 1e-9
_ROUNDS_OF_PINNING = 3


@dataclass(frozen=True)
class Solution:
    """Fitted coefficients of the basis' functions (p,), what they make of its units (H,), idle per node (N,)."""

    coefficients: Array
    outputs: Array
    idle_millijoules: Array
    ridge: float

    def relative_errors(self, rows: IntervalRows) -> Array:
        """How far the fit is from what was measured, (k,), relative to it."""
        fitted = rows.sums @ self.outputs + self.idle_millijoules[rows.node]
        return fitted / rows.energy_millijoules - 1


class LeastSquares:
    """The fit of one function to the intervals of some nodes."""

    def __init__(
        self,
        rows: Iterable[IntervalRows],
        basis: Basis,
        blocks: npt.NDArray[np.int64],
        prior: Prior,
        nodes: npt.NDArray[np.bool_],
    ) -> None:
        self._all_rows, self._basis, self._blocks, self._prior, self._nodes = rows, basis, blocks, prior, nodes
        self._by_node = int(nodes.sum()) >= NODES_FOR_FOLDS_OF_NODES
        self._folds = FOLDS if self._by_node else min(FOLDS, len(blocks))

    def only(self, nodes: npt.NDArray[np.bool_]) -> LeastSquares:
        """The same fit to fewer nodes."""
        return LeastSquares(self._all_rows, self._basis, self._blocks, self._prior, nodes)

    def fit(self) -> Solution:
        """Fit; intervals are weighed twice, before the ridge is chosen and after."""
        first = self._solve(self._moments(_equally), FIRST_RIDGE)
        robust = self._moments(self._huber(first))
        ridge = self._choose_ridge(robust)
        second = self._solve(robust, ridge)
        return self._solve(self._moments(self._huber(second)), ridge)

    def _rows(self) -> Iterator[IntervalRows]:
        for rows in self._all_rows:
            mine = self._nodes[rows.node]
            yield rows if mine.all() else rows.only(mine)

    def _fold_of(self, rows: IntervalRows) -> npt.NDArray[np.int64]:
        if self._by_node:
            rank: npt.NDArray[np.int64] = np.cumsum(self._nodes, dtype=np.int64)[rows.node]
        else:
            rank = np.searchsorted(self._blocks, rows.block_start_seconds)
        return rank % self._folds

    def _moments(self, weigh: Weigh) -> Moments:
        shape = (self._folds, len(self._nodes), len(self._basis.offsets))
        return moments_of(self._rows(), self._fold_of, shape, weigh)

    def _huber(self, solution: Solution) -> Weigh:
        """Weigh intervals by how far they are from a solution, against what is usual."""
        sample = EvenSample(_SAMPLED_ERRORS)
        for rows in self._rows():
            sample.add(np.abs(solution.relative_errors(rows)))
        bound = HUBER_THRESHOLD * max(1.4826 * float(np.median(sample.rows())), _SMALLEST_SPREAD)
        return lambda rows: np.minimum(1.0, bound / np.maximum(np.abs(solution.relative_errors(rows)), bound))

    def _choose_ridge(self, moments: Moments) -> float:
        """Take the strongest ridge whose held-out loss is within one standard error of the smallest.

        Of fits that are as good on the sum, the simplest splits best; a sum alone cannot tell.
        """
        if self._folds < 2 or not self._basis.ridged.any():
            return FIRST_RIDGE
        losses = np.empty((self._folds, len(RIDGES)))
        for fold in range(self._folds):
            training = moments.of(other for other in range(self._folds) if other != fold)
            gram, moment, constant = moments.of([fold]).without_idle(self._prior)
            for index, ridge in enumerate(RIDGES):
                outputs = self._solve(training, ridge).outputs
                loss = outputs @ gram @ outputs - 2 * outputs @ moment + constant
                losses[fold, index] = loss / moments.intervals[fold].sum()
        mean = losses.mean(axis=0)
        best = int(mean.argmin())
        within = mean <= mean[best] + losses[:, best].std(ddof=1) / np.sqrt(self._folds)
        return max(ridge for ridge, good in zip(RIDGES, within, strict=True) if good)

    def _solve(self, moments: Moments, ridge: float) -> Solution:
        """Solve for coefficients ≥ 0 and idle energies; those that leave their bounds are pinned to them."""
        prior = self._prior
        columns, intervals = self._basis.columns, float(moments.intervals.sum())
        penalty = np.diag(np.where(self._basis.ridged, ridge * intervals / prior.mean_millijoules**2, 0.0))
        for _ in range(_ROUNDS_OF_PINNING):
            gram, moment, _constant = moments.without_idle(prior)
            coefficients = nnls(columns.T @ gram @ columns + penalty, columns.T @ moment)
            outputs = columns @ coefficients
            idle = moments.idle(prior, outputs)
            possible = np.clip(idle, 0.0, prior.ceiling_millijoules)
            outside = idle != possible
            if not outside.any():
                break
            prior = prior.pinned(outside, possible)
        return Solution(coefficients, outputs, possible, ridge)


def _equally(rows: IntervalRows) -> Array:
    return np.ones(len(rows.node))
