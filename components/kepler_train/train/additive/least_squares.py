"""One fit: non-negative, robust, idle pinned softly, split as a node model splits, as far as the sum allows.

Minimised is the mean over node intervals of the squared relative error of (Σ pods + idle), with Huber's weights; plus
the distance of each node's idle energy from the node model's; plus, with the greatest strength that costs the sum
little on held-out blocks, the distance of each pod's power from its part by a model that knows all pods of the node;
plus a small ridge on what is not linear.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.basis import Basis
from kepler_train.train.additive.huber import huber
from kepler_train.train.additive.kinds import with_kinds
from kepler_train.train.additive.moments import Moments, Prior, held_out_loss, moments_of
from kepler_train.train.additive.nnls import nnls
from kepler_train.train.additive.node_model import fit_node_model
from kepler_train.train.additive.sample import IntervalRows, Sample
from kepler_train.train.additive.split import Split, split_of

Array = npt.NDArray[np.float64]

SPLIT_STRENGTHS: tuple[float, ...] = tuple(np.geomspace(1e-2, 1e2, 13).tolist())
"""At 1, a pod that is off by 1 % of its node's energy costs as much as a node interval whose sum is."""
SPLIT_COST = 0.2
"""What the split may cost the sum, as a share of its loss, if the node model's loss is as small: 10 % of the error."""
TOTAL_COST = 0.05
"""What energy that is right in total may cost the sum, as a share of its loss: 2.5 % of the error."""
FIRST_STRENGTH = 0.3
"""Where there is too little to choose by."""
RIDGE = 1e-4
"""On coefficients in units of the mean energy."""
IDLE_STRENGTH = 0.1
"""An idle energy that is off by 1 % of the mean energy costs as much as an error of 0.3 % in every interval."""
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

    def __init__(self, sample: Sample, basis: Basis, blocks: npt.NDArray[np.int64], prior: Prior) -> None:
        self._sample, self._basis, self._blocks, self._prior = sample, basis, blocks, prior
        nodes = np.unique(sample.intervals.node)
        if len(nodes) >= NODES_FOR_FOLDS_OF_NODES:
            place = np.searchsorted(nodes, sample.intervals.node)
            self._folds = FOLDS
        else:
            place = np.searchsorted(blocks, sample.intervals.block_start_seconds)
            self._folds = min(FOLDS, len(blocks))
        self._fold = place % self._folds

    def only(self, nodes: npt.NDArray[np.bool_]) -> LeastSquares:
        """The same fit to fewer nodes, (N,)."""
        return LeastSquares(self._sample.of(nodes), self._basis, self._blocks, self._prior)

    def fit(self) -> Solution:
        """Fit; intervals are weighed by how far off the node model is, then the function that adds up best."""
        intervals = self._sample.intervals
        model = fit_node_model(intervals, self._basis, self._prior, self._fold, self._folds)
        if self._basis.kinds:
            model = with_kinds(model, self._sample, self._basis)
        split = split_of(model, self._sample, self._basis.units)
        prior, weakest = self._prior_around(model.idle_millijoules), SPLIT_STRENGTHS[0]
        first = self._solve(self._moments(huber(model.errors(intervals))), split, weakest, prior)
        moments = self._moments(huber(first.errors(intervals)))
        strength = self._choose_strength(moments, split, prior, model.held_out_loss)
        if strength is None:
            strength, prior = weakest, self._prior_around(self._prior.millijoules)
        return _right_in_total(self._solve(moments, split, strength, prior), intervals)

    def _moments(self, weight: Array) -> Moments:
        shape = (self._folds, len(self._prior.millijoules))
        return moments_of(self._sample.intervals, weight, self._fold, shape)

    def _prior_around(self, idle_millijoules: Array) -> Prior:
        strength = np.full(len(idle_millijoules), IDLE_STRENGTH / self._prior.mean_millijoules**2)
        return replace(self._prior, millijoules=idle_millijoules, strength=strength)

    def _choose_strength(self, moments: Moments, split: Split, prior: Prior, of_node_model: float) -> float | None:
        """Take the greatest strength with which the sum, on held-out folds, is as good as with the least, or nearly.

        Of functions that add up about equally well, the one that splits best is wanted; the sum alone cannot tell. A
        node model that explains the sum worse than they do knows little of the split: it may cost less by as much.
        None: it may cost nothing, and nothing it says is to be used.
        """
        if self._folds < 2:
            return FIRST_STRENGTH
        weakest, *others = SPLIT_STRENGTHS
        least = self._loss(moments, split, weakest, prior)
        cost = SPLIT_COST * least - max(of_node_model - least, 0.0)
        if cost <= 0:
            return None
        for strength in reversed(others):
            if self._loss(moments, split, strength, prior) <= least + cost:
                return strength
        return weakest

    def _loss(self, moments: Moments, split: Split, strength: float, prior: Prior) -> float:
        return held_out_loss(moments, prior, lambda part: self._solve(part, split, strength, prior).outputs)

    def _solve(self, moments: Moments, split: Split, strength: float, prior: Prior) -> Solution:
        """Solve for coefficients ≥ 0 and idle energies; those that leave their bounds are pinned to them."""
        columns, intervals = self._basis.columns, float(moments.intervals.sum())
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


def _right_in_total(solution: Solution, rows: IntervalRows) -> Solution:
    """Scale what pods cause so that the energy of all intervals together is right, if each is about as right as before.

    Relative errors are least where large energies are fitted a little low or, by the pull, high. Where features tell
    energy badly, they are least far too low: that is left, for right in total would be wrong in most intervals.
    """
    errors = solution.errors(rows)
    weight = huber(errors)
    caused = rows.sums @ solution.outputs
    total = float(weight @ caused)
    wanted = float(weight @ (rows.energy_millijoules - solution.idle_millijoules[rows.node]))
    if wanted <= 0 or total <= 0:
        return solution
    scaled = replace(solution, outputs=solution.outputs * (wanted / total))
    as_right = weight @ scaled.errors(rows) ** 2 <= (1 + TOTAL_COST) * (weight @ errors**2)
    return scaled if as_right else solution
