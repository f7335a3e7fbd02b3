"""Is the candidate better than another model by more than noise? Paired over blocks of held-out time.

Errors of neighbouring intervals, and of nodes at the same time, resemble each other; so the unit is the block of time
over all nodes, not the interval. The improvement D is the difference of the two weighted MAPEs: a ratio of sums over
blocks, whose standard error is that of the blocks' deviations from it (Cochran, Sampling Techniques, 1977, section
2.11). Noise is half the 95 % interval by Student's t, with the blocks' effective number (Kish) less one as its degrees
of freedom: 12.7 standard errors for two blocks, 2 for fifty. Few blocks can agree by luck, so the standard error is at
least that of independent intervals; and of one block nothing can be told at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from kepler_train.evaluate.scores import Tally

CONFIDENCE = 0.95
LEAST_NOISE_PERCENT = 0.01
"""Differences smaller than this, of the reference's error, are rounding."""


@dataclass(frozen=True)
class Comparison:
    """The candidate against one reference, in percent of the reference's MAPE."""

    reference: str
    improvement_percent: float
    noise_percent: float

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
    reference_error, candidate_error = tally.errors[index, 2], tally.errors[0, 2]
    gain = reference_error - candidate_error
    # A reference without any error has nothing to be a percentage of; it cannot be improved on either.
    scale = 100 / reference_error if reference_error else 0.0
    noise = _noise(tally, index, gain / tally.weight) * tally.weight
    if not np.isfinite(noise):
        return Comparison(reference, float(gain * scale), max(100.0, float(abs(gain) * scale)))
    return Comparison(reference, float(gain * scale), max(float(noise * scale), LEAST_NOISE_PERCENT))


def _noise(tally: Tally, index: int, improvement: float) -> float:
    """Half the 95 % interval of the difference of MAPEs, as a fraction; infinite where nothing can be told."""
    blocks = list(tally.blocks.values())
    if len(blocks) < 2:
        return float(np.inf)
    weights = np.array([block.weight for block in blocks]) / tally.weight
    errors = np.array([block.relative_errors for block in blocks]) / tally.weight
    gains = errors[:, index] - errors[:, 0]
    of_blocks = len(blocks) / (len(blocks) - 1) * np.sum((gains - weights * improvement) ** 2)
    ones, first, second = tally.squares[index] / tally.weight**2
    of_intervals = second - 2 * improvement * first + improvement**2 * ones
    degrees_of_freedom = max(1 / np.sum(weights**2) - 1, 1.0)
    factor = stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2)
    return float(factor * np.sqrt(max(of_blocks, of_intervals)))
