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

import numpy as np
import numpy.typing as npt

from kepler_train.evaluate.predictions import Floats, Predictions

LEVELS = 10


class Balance:
    """Each node's energy levels, and how many held-out intervals are in each; built in two passes over them."""

    def __init__(self, batches: Callable[[], Iterator[Predictions]]) -> None:
        self._least: dict[str, float] = {}
        self._most: dict[str, float] = {}
        self._counts: dict[str, npt.NDArray[np.int64]] = {}
        for batch in batches():
            node, measured = batch.node, batch.measured_millijoules
            self._least[node] = min(self._least.get(node, np.inf), float(measured.min()))
            self._most[node] = max(self._most.get(node, -np.inf), float(measured.max()))
        for batch in batches():
            counts = np.bincount(self._levels(batch.node, batch.measured_millijoules), minlength=LEVELS)
            self._counts[batch.node] = self._counts.get(batch.node, 0) + counts

    def weights(self, node: str, measured_millijoules: Floats) -> Floats:
        """What each of a node's held-out intervals counts, (k,)."""
        weights: Floats = 1 / np.sqrt(self._counts[node][self._levels(node, measured_millijoules)])
        return weights

    def busy(self, node: str, measured_millijoules: Floats) -> npt.NDArray[np.bool_]:
        """Tell which intervals, (k,), are not below the middle between the node's least and most energy."""
        busy: npt.NDArray[np.bool_] = measured_millijoules >= (self._least[node] + self._most[node]) / 2
        return busy

    def _levels(self, node: str, measured_millijoules: Floats) -> npt.NDArray[np.int64]:
        edges = np.linspace(self._least[node], self._most[node], LEVELS + 1)[1:-1]
        levels: npt.NDArray[np.int64] = np.digitize(measured_millijoules, edges)
        return levels
