"""Is the candidate better than another model by more than noise? Paired over blocks of held-out time.

Errors of neighbouring intervals, and of nodes at the same time, resemble each other; so the unit is the block of time
over all nodes, not the interval. The improvement is the difference of the two weighted MAPEs, which is a mean over
energy levels; which levels a block happens to be in is no noise, since what a level counts is set (see `balance`). So
the standard error is that of leaving out one block after the other, each level counting what it did: the delete-a-group
jackknife of a post-stratified mean (Wolter, Introduction to Variance Estimation, 2007, chapter 4). A level that only
one block holds goes with it, and so adds to the noise.

Noise is half the 95 % interval by Student's t, with the blocks' effective number (Kish) less one as its degrees of
freedom: 12.7 standard errors for two blocks, 2 for fifty. Few blocks can agree by luck, so the standard error is at
least that of independent intervals; and of one block nothing can be told at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from kepler_train.evaluate.predictions import Floats
from kepler_train.evaluate.scores import Tally

CONFIDENCE = 0.95
LEAST_NOISE_PERCENT = 0.5
"""A difference smaller than this, of the reference's error, is no reason to serve another model however sure it is."""


@dataclass(frozen=True)
class Comparison:
    """The candidate against one reference; improvement and noise in percent of the reference's MAPE."""

    reference: str
    candidate_mape_percent: float
    reference_mape_percent: float
    noise_percent: float

    @property
    def improvement_percent(self) -> float:
        """How much smaller the candidate's MAPE is; nothing improves on a reference without any error."""
        gain = self.reference_mape_percent - self.candidate_mape_percent
        return 100 * gain / self.reference_mape_percent if self.reference_mape_percent else 0.0

    @property
    def improved(self) -> bool:
        """Tell whether the candidate is better by more than noise."""
        return self.improvement_percent > self.noise_percent

    @property
    def worse(self) -> bool:
        """Tell whether the candidate is worse by more than noise."""
        return -self.improvement_percent > self.noise_percent


def compare(tally: Tally, reference: str) -> Comparison:
    """Compare the first model of a tally with another."""
    index = tally.models.index(reference)
    candidate_mape, reference_mape = (100 * float(tally.errors[which, 2]) / tally.weight for which in (0, index))
    # Where nothing can be told, noise is as large as any improvement can be.
    noise = 100.0 * max(1.0, candidate_mape / max(reference_mape, 1e-9))
    if len(tally.blocks) > 1 and reference_mape:
        noise = max(LEAST_NOISE_PERCENT, 100 * _noise(tally, index) / (reference_mape / 100))
    return Comparison(reference, candidate_mape, reference_mape, noise)


def _noise(tally: Tally, index: int) -> float:
    """Half the 95 % interval of the difference of MAPEs, as a fraction."""
    weights = np.array([block.weights for block in tally.blocks.values()])
    errors = np.array([block.relative_errors for block in tally.blocks.values()])
    gains = errors[:, index] - errors[:, 0]
    in_level, gained = weights.sum(axis=0), gains.sum(axis=0)
    variance = max(_of_blocks(weights, gains), _of_intervals(tally.squares[index], in_level, gained))
    shares = weights.sum(axis=1) / tally.weight
    degrees_of_freedom = max(1 / float(shares @ shares) - 1, 1.0)
    return float(stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2) * np.sqrt(variance))


def _of_blocks(weights: Floats, gains: Floats) -> float:
    """The variance of the mean gain by leaving out one of b blocks at a time; both are (b, LEVELS)."""
    in_level, gained = weights.sum(axis=0), gains.sum(axis=0)
    left = in_level - weights
    there = left > 1e-9 * in_level
    means = np.divide(gained - gains, left, out=np.zeros_like(left), where=there)
    without = (means * in_level).sum(axis=1) / (in_level * there).sum(axis=1)
    blocks = len(weights)
    return float((blocks - 1) / blocks * np.sum((without - gained.sum() / in_level.sum()) ** 2))


def _of_intervals(squares: Floats, in_level: Floats, gained: Floats) -> float:
    """The variance of the mean gain if intervals were independent; `squares` is (3, LEVELS), all else (LEVELS,)."""
    ones, first, second = squares
    mean = np.divide(gained, in_level, out=np.zeros_like(gained), where=in_level > 0)
    return float(np.sum(second - 2 * mean * first + mean**2 * ones) / in_level.sum() ** 2)
