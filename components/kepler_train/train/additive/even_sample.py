"""A sample of bounded size from a stream of rows, without chance: every so-manieth row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class EvenSample:
    """Keeps every s-th row that was added, s doubling so that fewer than twice `capacity` rows are held."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._stride = 1
        self._seen = 0
        self._kept: list[Array] = []
        self._held = 0

    def add(self, rows: Array) -> None:
        """Offer rows, (k, ...)."""
        self.keep(rows[self.next(len(rows))])

    def next(self, count: int) -> npt.NDArray[np.int64]:
        """Tell which of the next `count` rows of the stream to `keep`, for rows that cost something to make."""
        wanted = np.arange(-self._seen % self._stride, count, self._stride)
        self._seen += count
        return wanted

    def keep(self, rows: Array) -> None:
        """Take the rows that `next` wanted."""
        self._kept.append(rows)
        self._held += len(rows)
        while self._held >= 2 * self._capacity:
            thinned = self.rows()[::2].copy()
            self._kept, self._held = [thinned], len(thinned)
            self._stride *= 2

    def rows(self) -> Array:
        """The rows kept, in the order in which they came."""
        return np.concatenate(self._kept)
