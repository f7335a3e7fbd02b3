"""The first pass over a training part: which nodes and blocks there are, what pod rows look like, where nodes rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.contract.parts import IntervalBatch
from kepler_train.train.additive.even_sample import EvenSample
from kepler_train.train.additive.idle import Idle, estimate_idle

Array = npt.NDArray[np.float64]

SAMPLED_POD_ROWS = 20_000
SAMPLED_INTERVALS_PER_STRETCH = 1_024
STRETCHES_APART_MILLISECONDS = 600_000
"""Intervals of a node that are further apart are of different windows: blocks held out leave shorter gaps."""


@dataclass(frozen=True)
class Survey:
    """What a fit has to know before it can add anything up."""

    pod_sample: Array
    """Evenly chosen pod rows, (s, n)."""
    architectures: dict[str, str]
    """Node to its CPU architecture, in order of appearance."""
    idle: dict[str, Idle]
    """Node to what its quiet intervals tell about its idle energy."""
    blocks: npt.NDArray[np.int64]
    """The starts of all blocks of time, in order."""
    mean_millijoules: float
    """Mean energy of a node interval."""
    node_intervals: int


def survey(batches: Iterable[IntervalBatch]) -> Survey:
    """Go once through a training part, in memory that grows with the number of nodes but not with rows."""
    pods = EvenSample(SAMPLED_POD_ROWS)
    stretches = Stretches()
    architectures: dict[str, str] = {}
    blocks: set[int] = set()
    energy, count = 0.0, 0
    for batch in batches:
        pods.add(batch.pods)
        totals = sum_by_interval(batch.starts, np.ascontiguousarray(batch.pods.T)).T
        rows = np.column_stack([totals, batch.energy_millijoules, batch.block_start_seconds])
        stretches.add(batch.node, batch.timestamp_milliseconds, rows)
        architectures[batch.node] = batch.cpu_architecture
        blocks.update(np.unique(batch.block_start_seconds).tolist())
        energy += float(batch.energy_millijoules.sum())
        count += len(batch)
    return Survey(
        pod_sample=pods.rows(),
        architectures=architectures,
        idle=estimate_idle(stretches.rows()),
        blocks=np.array(sorted(blocks), dtype=np.int64),
        mean_millijoules=energy / count,
        node_intervals=count,
    )


class Stretches:
    """Even samples of rows of each node's stretches of time, so that a short idle recording is not lost in a day."""

    def __init__(self) -> None:
        self._samples: dict[str, list[EvenSample]] = {}
        self._last: dict[str, int] = {}

    def add(self, node: str, timestamp_milliseconds: npt.NDArray[np.int64], rows: Array) -> None:
        """Add rows, (k, ...), of a node's intervals, as they come."""
        last = self._last.get(node, int(timestamp_milliseconds[0]))
        apart = np.abs(np.diff(timestamp_milliseconds, prepend=last)) > STRETCHES_APART_MILLISECONDS
        samples = self._samples.setdefault(node, [EvenSample(SAMPLED_INTERVALS_PER_STRETCH)])
        for number, part in enumerate(np.split(rows, np.flatnonzero(apart))):
            if number:
                samples.append(EvenSample(SAMPLED_INTERVALS_PER_STRETCH))
            samples[-1].add(part)
        self._last[node] = int(timestamp_milliseconds[-1])

    def rows(self) -> dict[str, list[Array]]:
        """Node to the rows kept of each of its stretches."""
        return {node: [sample.rows() for sample in samples] for node, samples in self._samples.items()}


def sum_by_interval(starts: npt.NDArray[np.int64], values: Array) -> Array:
    """Add up values of pod rows, (c, m), into node intervals, (c, k); interval i has rows starts[i]:starts[i + 1]."""
    occupied = np.flatnonzero(starts[1:] > starts[:-1])
    sums = np.zeros((len(values), len(starts) - 1))
    if len(occupied):
        sums[:, occupied] = np.add.reduceat(values, starts[occupied], axis=1)
    return sums
