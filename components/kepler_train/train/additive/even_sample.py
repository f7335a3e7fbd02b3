"""A sample of bounded size from a stream of rows, without chance: spread evenly, and in step with nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ divided by the golden ratio: its multiples are spread most evenly (Knuth, 6.4). Every so-manieth row would not
do: where each node interval has as many pods, that is the same few pods again and again."""
_ALL = 1 << 64


def evenly(first: int, count: int, share: float) -> npt.NDArray[np.bool_]:
    """Tell which of `count` rows of a stream, from its `first` on, are of an even share of it."""
    return _positions(first, count) <= np.uint64(min(int(share * _ALL), _ALL - 1))


def _positions(first: int, count: int) -> npt.NDArray[np.uint64]:
    return np.arange(first, first + count, dtype=np.uint64) * _GOLDEN


class EvenSample:
    """Keeps an even share of the rows that were added, halved whenever twice `capacity` rows are held."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._limit = _ALL - 1
        self._seen = 0
        self._positions: list[npt.NDArray[np.uint64]] = []
        self._kept: list[Array] = []
        self._held = 0

    def add(self, rows: Array) -> None:
        """Offer rows, (k, ...)."""
        self.keep(rows[self.next(len(rows))])

    def next(self, count: int) -> npt.NDArray[np.int64]:
        """Tell which of the next `count` rows of the stream to `keep`, for rows that cost something to make."""
        position = _positions(self._seen, count)
        wanted = np.flatnonzero(position <= np.uint64(self._limit))
        self._positions.append(position[wanted])
        self._seen += count
        return wanted

    def keep(self, rows: Array) -> None:
        """Take the rows that `next` wanted."""
        self._kept.append(rows)
        self._held += len(rows)
        while self._held >= 2 * self._capacity:
            self._limit //= 2
            position = np.concatenate(self._positions)
            stays = position <= np.uint64(self._limit)
            thinned = self.rows()[stays]
            self._positions, self._kept, self._held = [position[stays]], [thinned], len(thinned)

    def rows(self) -> Array:
        """The rows kept, in the order in which they came."""
        return np.concatenate(self._kept)
