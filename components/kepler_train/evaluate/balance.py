"""Weights of node intervals, so that idle hours do not drown the load.

A night is mostly idle, and a model that knows nothing but the idle node would look good on it. So the range between a
node's least and most held-out energy is cut into ten equally wide levels, and each occupied level counts by the square
root of its number of intervals, shared out evenly among them. That lies half-way between each interval counting the
same (idle drowns the load) and each level counting the same (one freak interval outweighs a night): of 9,000 idle
intervals and 1,000 spread over the other nine levels, idle counts 95, the rest 95.

Weights depend on what was measured alone, so they are the same for every model that is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.evaluate.predictions import Floats, Integers, Predictions

LEVELS = 10
_STEPS = 100
"""Each level is counted in so many steps, fine enough to find a median in."""


@dataclass(frozen=True)
class Standing:
    """Some intervals of one node, (k,) each."""

    weights: Floats
    levels: Integers
    """0 to LEVELS − 1, within the node's own range."""
    busy: npt.NDArray[np.bool_]
    """Not below the middle between the node's least and most energy."""


class Balance:
    """Each node's energy levels, and how many held-out intervals are in each; built in two passes over them."""

    def __init__(self, batches: Callable[[], Iterator[Predictions]]) -> None:
        self._least: dict[str, float] = {}
        self._most: dict[str, float] = {}
        self._counts: dict[str, Integers] = {}
        for batch in batches():
            node, measured = batch.node, batch.measured_millijoules
            self._least[node] = min(self._least.get(node, np.inf), float(measured.min()))
            self._most[node] = max(self._most.get(node, -np.inf), float(measured.max()))
        for batch in batches():
            counts = np.bincount(self._steps(batch.node, batch.measured_millijoules), minlength=LEVELS * _STEPS)
            self._counts[batch.node] = self._counts.get(batch.node, 0) + counts

    def standing(self, node: str, measured_millijoules: Floats) -> Standing:
        """Where a node's held-out intervals, (k,), stand in its range, and what each counts."""
        levels = self._steps(node, measured_millijoules) // _STEPS
        return Standing(
            weights=1 / np.sqrt(self._in_levels(node)[levels]),
            levels=levels,
            busy=measured_millijoules >= (self._least[node] + self._most[node]) / 2,
        )

    def best_constant(self, node: str) -> float:
        """The energy in mJ that has the smallest weighted relative error of all constants, known in hindsight.

        It is the median under weights / measured; found to a thousandth of the node's range.
        """
        middles = self._least[node] + (np.arange(LEVELS * _STEPS) + 0.5) * self._width(node)
        per_level = np.sqrt(np.maximum(self._in_levels(node), 1))
        shares = np.cumsum(self._counts[node] / np.repeat(per_level, _STEPS) / middles)
        return float(middles[np.searchsorted(shares, shares[-1] / 2)])

    def _in_levels(self, node: str) -> Integers:
        """How many intervals each level of a node holds, (LEVELS,)."""
        counts: Integers = self._counts[node].reshape(LEVELS, _STEPS).sum(axis=1)
        return counts

    def _steps(self, node: str, measured_millijoules: Floats) -> Integers:
        """The step of each measured energy within its node's range, (k,)."""
        width = self._width(node)
        steps = (measured_millijoules - self._least[node]) / width if width else np.zeros(len(measured_millijoules))
        return np.minimum(steps.astype(np.int64), LEVELS * _STEPS - 1)

    def _width(self, node: str) -> float:
        return (self._most[node] - self._least[node]) / (LEVELS * _STEPS)
