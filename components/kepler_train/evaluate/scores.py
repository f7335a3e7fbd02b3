"""Adding up errors of several models over the same held-out node intervals, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kepler_train.contract.models import Score
from kepler_train.evaluate.balance import LEVELS, Standing
from kepler_train.evaluate.predictions import Floats, Integers

CANDIDATE, CHAMPION = "candidate", "champion"
CONSTANT, BEST_CONSTANT = "constant", "best constant"
"""Trivial models, constants per node: the mean over the training part, and what would have been best in hindsight."""


@dataclass
class BlockSums:
    """One held-out block of time, over all nodes, by energy level."""

    weights: Floats
    """(LEVELS,): Σ weight."""
    relative_errors: Floats
    """(p, LEVELS): Σ weight × |predicted − measured| / measured, of each model."""
    node_intervals: int = 0


@dataclass
class Tally:
    """Weighted sums of the errors of p models, the candidate first, from which scores and comparisons follow."""

    models: tuple[str, ...]
    weight: float = 0.0
    measured: float = 0.0
    errors: Floats = field(init=False)
    """(p, 4): Σ weight × absolute, squared, relative and signed error."""
    busy_weight: float = 0.0
    busy_relative_errors: Floats = field(init=False)
    """(p,)"""
    squares: Floats = field(init=False)
    """(p, 3, LEVELS): Σ weight² × 1, d and d², d being by how much the candidate's relative error is smaller."""
    blocks: dict[int, BlockSums] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.models)
        self.errors, self.squares = np.zeros((count, 4)), np.zeros((count, 3, LEVELS))
        self.busy_relative_errors = np.zeros(count)

    def add(self, measured: Floats, predicted: Floats, standing: Standing, blocks: Integers) -> None:
        """Add k node intervals: `predicted` is (p, k), all else (k,)."""
        error = predicted - measured
        relative = np.abs(error) / measured
        weights, levels, busy = standing.weights, standing.levels, standing.busy
        self.weight += float(weights.sum())
        self.measured += float(weights @ measured)
        self.errors += np.stack([np.abs(error), error**2, relative, error], axis=1) @ weights
        self.busy_weight += float(weights[busy].sum())
        self.busy_relative_errors += relative[:, busy] @ weights[busy]
        of_level = np.eye(LEVELS)[levels] * weights[:, np.newaxis]
        gain = relative - relative[0]
        self.squares += np.stack([np.ones_like(gain), gain, gain**2], axis=1) @ (of_level * weights[:, np.newaxis])
        for block in np.unique(blocks):
            here = blocks == block
            sums = self.blocks.setdefault(int(block), BlockSums(np.zeros(LEVELS), np.zeros((len(self.models), LEVELS))))
            sums.weights += of_level[here].sum(axis=0)
            sums.relative_errors += relative[:, here] @ of_level[here]
            sums.node_intervals += int(here.sum())

    def score(self, model: str) -> Score:
        """The score of one model over all that was added."""
        index = self.models.index(model)
        absolute, squared, relative, signed = (float(value) for value in self.errors[index])
        return Score(
            mae_millijoules=absolute / self.weight,
            mse_millijoules2=squared / self.weight,
            mape_percent=100 * relative / self.weight,
            bias_percent=100 * signed / self.measured,
            busy_mape_percent=100 * float(self.busy_relative_errors[index]) / self.busy_weight,
        )
