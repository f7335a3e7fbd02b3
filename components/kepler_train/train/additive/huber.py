"""Huber's weights: what is off by more than is usual counts by its distance, not by its square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.interval_sums import IntervalRows

Array = npt.NDArray[np.float64]
Weigh = Callable[[IntervalRows], Array]
"""Gives each node interval, (k,), its weight."""

THRESHOLD = 1.345
"""In standard deviations: 95 % efficient where errors are normal."""
_SMALLEST = 1e-9


class Model(Protocol):
    """What predicts the energy of node intervals."""

    def errors(self, rows: IntervalRows) -> Array:
        """How far it is from what was measured, (k,), relative to it."""


def huber(model: Model, sample: IntervalRows) -> Weigh:
    """Weigh intervals by how far a model is off, against what is usual in a sample."""
    bound = THRESHOLD * max(1.4826 * float(np.median(np.abs(model.errors(sample)))), _SMALLEST)
    return lambda rows: np.minimum(1.0, bound / np.maximum(np.abs(model.errors(rows)), bound))
