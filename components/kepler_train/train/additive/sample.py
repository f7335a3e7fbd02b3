"""What a fit uses of a training part: an even sample of node intervals, as sums of units over their pods.

Some thousand node intervals tell all that a few dozen coefficients can learn, so time and memory hardly grow with
the window beyond them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kepler_train.contract.parts import IntervalBatch
from kepler_train.train.additive.even_sample import EvenSample, evenly
from kepler_train.train.additive.survey import sum_by_interval

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

SAMPLED_INTERVALS = 5_000
SAMPLED_POD_ROWS = 10_000
CHUNK_POD_ROWS = 2_048
"""Pod rows whose units are computed at once; they should fit into a processor's cache."""


@dataclass(frozen=True)
class IntervalRows:
    """Node intervals, (k,) each, and their unit sums, (k, H)."""

    node: Integers
    block_start_seconds: Integers
    energy_millijoules: Array
    sums: Array

    def only(self, chosen: Flags) -> IntervalRows:
        """Those of these intervals that are chosen, (k,)."""
        return IntervalRows(
            self.node[chosen], self.block_start_seconds[chosen], self.energy_millijoules[chosen], self.sums[chosen]
        )


@dataclass(frozen=True)
class PodRows:
    """Some pod rows, (s, n), with the place of their interval among the sampled ones, (s,)."""

    interval: Integers
    pods: Array


@dataclass(frozen=True)
class Sample:
    """Sampled node intervals, and an even sample of their pod rows."""

    intervals: IntervalRows
    pods: PodRows
    pods_per_interval: float

    def of(self, nodes: Flags) -> Sample:
        """Those of some nodes, (N,)."""
        chosen = nodes[self.intervals.node]
        mine = chosen[self.pods.interval]
        place = np.cumsum(chosen) - 1
        pods = PodRows(place[self.pods.interval[mine]], self.pods.pods[mine])
        return replace(self, intervals=self.intervals.only(chosen), pods=pods)


def take_sample(
    batches: Iterable[IntervalBatch], nodes: Sequence[str], units: Callable[[Array], Array], node_intervals: int
) -> Sample:
    """Go through a part that holds so many node intervals; `units` gives (H, m) for pod rows (m, n)."""
    index = {node: number for number, node in enumerate(nodes)}
    pods, taken = EvenSample(SAMPLED_POD_ROWS), 0
    pieces, seen, pod_rows = [], 0, 0
    for batch in batches:
        chosen = evenly(seen, len(batch), SAMPLED_INTERVALS / node_intervals)
        seen += len(batch)
        lengths = np.diff(batch.starts)
        rows = batch.pods if chosen.all() else batch.pods[np.repeat(chosen, lengths)]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[chosen])])
        pieces.append(
            IntervalRows(
                node=np.full(len(starts) - 1, index[batch.node]),
                block_start_seconds=batch.block_start_seconds[chosen],
                energy_millijoules=batch.energy_millijoules[chosen],
                sums=_sums(rows, starts, units),
            )
        )
        wanted = pods.next(len(rows))
        interval = taken + np.searchsorted(starts, wanted, side="right") - 1
        pods.keep(np.column_stack([interval, rows[wanted]]))
        taken += len(starts) - 1
        pod_rows += len(rows)
    kept = pods.rows()
    return Sample(
        intervals=IntervalRows(*(np.concatenate(columns) for columns in zip(*map(_columns, pieces), strict=True))),
        pods=PodRows(kept[:, 0].astype(np.int64), kept[:, 1:]),
        pods_per_interval=pod_rows / taken,
    )


def _columns(rows: IntervalRows) -> tuple[Integers, Integers, Array, Array]:
    return rows.node, rows.block_start_seconds, rows.energy_millijoules, rows.sums


def _sums(pods: Array, starts: Integers, units: Callable[[Array], Array]) -> Array:
    pieces = [
        sum_by_interval(starts[first : last + 1] - starts[first], units(pods[starts[first] : starts[last]]))
        for first, last in _chunks(starts)
    ]
    return np.hstack(pieces or [sum_by_interval(np.zeros(1, np.int64), units(pods))]).T


def _chunks(starts: Integers) -> Iterator[tuple[int, int]]:
    """Cut intervals into runs of about CHUNK_POD_ROWS pod rows: first interval, and the one after the last."""
    first, intervals = 0, len(starts) - 1
    while first < intervals:
        last = int(np.searchsorted(starts, starts[first] + CHUNK_POD_ROWS, side="right")) - 1
        last = min(max(last, first + 1), intervals)
        yield first, last
        first = last
