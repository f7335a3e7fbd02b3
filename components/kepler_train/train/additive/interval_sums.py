"""Sums of units over the pods of each node interval: nearly all that a fit needs of the pod rows, computed once.

Pod rows are an order of magnitude more than node intervals, so they are gone through once; the sums are then read
several times. What does not fit into memory is in a temporary file, so memory does not grow with the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile

import numpy as np
import numpy.typing as npt

from kepler_train.contract.parts import IntervalBatch
from kepler_train.train.additive.even_sample import EvenSample
from kepler_train.train.additive.survey import sum_by_interval

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

HELD_BYTES = 64 << 20
CHUNK_INTERVALS = 8_192
CHUNK_POD_ROWS = 2_048
"""Pod rows whose units are computed at once; they should fit into a processor's cache."""
SAMPLED_INTERVALS = 5_000
SAMPLED_POD_ROWS = 10_000


@dataclass(frozen=True)
class IntervalRows:
    """Some node intervals, (k,) each, and their unit sums, (k, H)."""

    number: Integers
    """In the order in which they came."""
    node: Integers
    block_start_seconds: Integers
    energy_millijoules: Array
    sums: Array

    def only(self, chosen: npt.NDArray[np.bool_]) -> IntervalRows:
        """Those of these intervals that are chosen, (k,)."""
        return IntervalRows(
            self.number[chosen],
            self.node[chosen],
            self.block_start_seconds[chosen],
            self.energy_millijoules[chosen],
            self.sums[chosen],
        )


@dataclass(frozen=True)
class PodRows:
    """Some pod rows, (s, n), with the number and the node of the interval that each belongs to, (s,)."""

    interval: Integers
    node: Integers
    pods: Array

    def only(self, chosen: npt.NDArray[np.bool_]) -> PodRows:
        """Those of these rows that are chosen, (s,)."""
        return PodRows(self.interval[chosen], self.node[chosen], self.pods[chosen])


class IntervalSums:
    """Unit sums of all node intervals of a training part, with an even sample of intervals and one of pod rows."""

    def __init__(self, batches: Iterable[IntervalBatch], nodes: Sequence[str], units: Callable[[Array], Array]) -> None:
        self._index = {node: index for index, node in enumerate(nodes)}
        self._file = SpooledTemporaryFile(max_size=HELD_BYTES)  # noqa: SIM115 (closed with this object)
        self._width = 0
        self._intervals = EvenSample(SAMPLED_INTERVALS)
        self._pods = EvenSample(SAMPLED_POD_ROWS)
        self.pod_rows = 0
        self.node_intervals = 0
        for batch in batches:
            self._add(batch, units)

    def __iter__(self) -> Iterator[IntervalRows]:
        """Go through all intervals, in the order in which they came."""
        self._file.seek(0)
        while content := self._file.read(CHUNK_INTERVALS * self._width * 8):
            yield _interval_rows(np.frombuffer(content, dtype=np.float64).reshape(-1, self._width))

    def sampled_intervals(self) -> IntervalRows:
        """An even sample of bounded size."""
        return _interval_rows(self._intervals.rows())

    def sampled_pods(self) -> PodRows:
        """An even sample of bounded size."""
        rows = self._pods.rows()
        return PodRows(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2:])

    def _add(self, batch: IntervalBatch, units: Callable[[Array], Array]) -> None:
        node = self._index[batch.node]
        for first, last in _chunks(batch.starts):
            begin, end = batch.starts[first], batch.starts[last]
            sums = sum_by_interval(batch.starts[first : last + 1] - begin, units(batch.pods[begin:end]))
            keys = [
                np.arange(self.node_intervals + first, self.node_intervals + last),
                np.full(last - first, node),
                batch.block_start_seconds[first:last],
                batch.energy_millijoules[first:last],
            ]
            rows = np.column_stack([*keys, sums.T])
            self._intervals.add(rows)
            self._file.write(rows.tobytes())
            self._width = rows.shape[1]
        wanted = self._pods.next(len(batch.pods))
        interval = self.node_intervals + np.searchsorted(batch.starts, wanted, side="right") - 1
        self._pods.keep(np.column_stack([interval, np.full(len(wanted), node), batch.pods[wanted]]))
        self.pod_rows += len(batch.pods)
        self.node_intervals += len(batch)


def _interval_rows(rows: Array) -> IntervalRows:
    number, node, block = rows[:, :3].T.astype(np.int64)
    return IntervalRows(number, node, block, rows[:, 3], rows[:, 4:])


def _chunks(starts: Integers) -> Iterator[tuple[int, int]]:
    """Cut intervals into runs of about CHUNK_POD_ROWS pod rows: first interval, and the one after the last."""
    first, intervals = 0, len(starts) - 1
    while first < intervals:
        last = int(np.searchsorted(starts, starts[first] + CHUNK_POD_ROWS, side="right")) - 1
        last = min(max(last, first + 1), intervals)
        yield first, last
        first = last
