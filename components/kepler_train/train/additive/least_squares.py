"""One fit: non-negative, robust, idle pinned softly, split as a node model splits, as far as the sum allows.

Minimised is the mean over node intervals of the squared relative error of (Σ pods + idle), with Huber's weights; plus
the prior of each node's idle energy; plus, with a strength chosen by blocked cross-validation, the distance of each
pod's power from its part by a model that knows all pods of the node; plus a small ridge on what is not linear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.basis import Basis
from kepler_train.train.additive.huber import Weigh, huber
from kepler_train.train.additive.interval_sums import IntervalRows, IntervalSums
from kepler_train.train.additive.moments import Moments, Prior, moments_of
from kepler_train.train.additive.nnls import nnls
from kepler_train.train.additive.node_model import fit_node_model
from kepler_train.train.additive.split import Split, split_of

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SPLIT_STRENGTHS = (0.3, 1.0, 3.0, 10.0)
"""At 1, a pod that is off by 1 % of its node's energy costs as much as a node interval whose sum is."""
FIRST_STRENGTH = 0.3
"""Where there is too little to choose by."""
RIDGE = 1e-3
"""On coefficients in units of the mean energy."""
FOLDS = 5
NODES_FOR_FOLDS_OF_NODES = 6
_ROUNDS_OF_PINNING = 3


@dataclass(frozen=True)
class Solution:
    """What a fit makes of the units, (H,), idle energies per node, (N,), and how much the split counted."""

    outputs: Array
    idle_millijoules: Array
    split_strength: float

    def errors(self, rows: IntervalRows) -> Array:
        """How far the fit is from what was measured, (k,), relative to it."""
        fitted = rows.sums @ self.outputs + self.idle_millijoules[rows.node]
        return fitted / rows.energy_millijoules - 1


class LeastSquares:
    """The fit of one function to the intervals of some nodes."""

    def __init__(
        self, sums: IntervalSums, basis: Basis, blocks: npt.NDArray[np.int64], prior: Prior, nodes: Flags
    ) -> None:
        self._sums, self._basis, self._blocks, self._prior, self._nodes = sums, basis, blocks, prior, nodes
        self._by_node = int(nodes.sum()) >= NODES_FOR_FOLDS_OF_NODES
        self._folds = FOLDS if self._by_node else min(FOLDS, len(blocks))

    def only(self, nodes: Flags) -> LeastSquares:
        """The same fit to fewer nodes, (N,)."""
        return LeastSquares(self._sums, self._basis, self._blocks, self._prior, nodes)

    def fit(self) -> Solution:
        """Fit; intervals are weighed first by how far the node model is off, then by how far the function is."""
        intervals, pods = self._sums.sampled_intervals(), self._sums.sampled_pods()
        intervals, pods = intervals.only(self._nodes[intervals.node]), pods.only(self._nodes[pods.node])
        prior = self._prior
        model = fit_node_model(intervals, self._basis, prior.millijoules, prior.mean_millijoules)
        pods_per_interval = self._sums.pod_rows / self._sums.node_intervals
        split = split_of(model, pods, pods_per_interval, self._rows(), self._basis.units)
        moments = self._moments(huber(model, intervals))
        strength = self._choose_strength(moments, split)
        first = self._solve(moments, split, strength)
        return self._solve(self._moments(huber(first, intervals)), split, strength)

    def _moments(self, weigh: Weigh) -> Moments:
        shape = (self._folds, len(self._nodes), len(self._basis.offsets))
        return moments_of(self._rows(), self._fold_of, shape, weigh)

    def _rows(self) -> Iterator[IntervalRows]:
        for rows in self._sums:
            mine = self._nodes[rows.node]
            yield rows if mine.all() else rows.only(mine)

    def _fold_of(self, rows: IntervalRows) -> npt.NDArray[np.int64]:
        if self._by_node:
            rank: npt.NDArray[np.int64] = np.cumsum(self._nodes, dtype=np.int64)[rows.node]
        else:
            rank = np.searchsorted(self._blocks, rows.block_start_seconds)
        return rank % self._folds

    def _choose_strength(self, moments: Moments, split: Split) -> float:
        """Take the greatest strength whose held-out loss is within one standard error of the smallest.

        Of functions that add up equally well, the one that splits best is wanted; the sum alone cannot tell.
        """
        if self._folds < 2:
            return FIRST_STRENGTH
        losses = np.empty((self._folds, len(SPLIT_STRENGTHS)))
        for fold in range(self._folds):
            training = moments.of(other for other in range(self._folds) if other != fold)
            gram, moment, constant = moments.of([fold]).without_idle(self._prior)
            for index, strength in enumerate(SPLIT_STRENGTHS):
                outputs = self._solve(training, split, strength).outputs
                loss = outputs @ gram @ outputs - 2 * outputs @ moment + constant
                losses[fold, index] = loss / moments.intervals[fold].sum()
        mean = losses.mean(axis=0)
        best = int(mean.argmin())
        within = mean <= mean[best] + losses[:, best].std(ddof=1) / np.sqrt(self._folds)
        return max(strength for strength, good in zip(SPLIT_STRENGTHS, within, strict=True) if good)

    def _solve(self, moments: Moments, split: Split, strength: float) -> Solution:
        """Solve for coefficients ≥ 0 and idle energies; those that leave their bounds are pinned to them."""
        prior, columns, intervals = self._prior, self._basis.columns, float(moments.intervals.sum())
        ridge = np.diag(np.where(self._basis.linear, 0.0, intervals * RIDGE / prior.mean_millijoules**2))
        for _ in range(_ROUNDS_OF_PINNING):
            gram, moment, _constant = moments.without_idle(prior)
            gram, moment = gram + intervals * strength * split.gram, moment + intervals * strength * split.moment
            outputs = columns @ nnls(columns.T @ gram @ columns + ridge, columns.T @ moment)
            idle = moments.idle(prior, outputs)
            possible = np.clip(idle, 0.0, prior.ceiling_millijoules)
            outside = idle != possible
            if not outside.any():
                break
            prior = prior.pinned(outside, possible)
        return Solution(outputs, possible, strength)
