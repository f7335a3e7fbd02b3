"""An assembled part (training or held-out) of one feature group, and the batches of node intervals it is read in.

A part is a folder: `part.json`, and shards as in a window. Each shard holds `pod_stat_data`, `node_intervals` and,
where there are any, `freq_data` and `pkg_data`. Row group *i* of `pod_stat_data` holds exactly the pods of the node
intervals in row group *i* of `node_intervals`, both in time order: that is what lets every reader work in batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kepler_train.contract.documents import Document
from kepler_train.contract.errors import BrokenContract
from kepler_train.contract.evidence import SplitEvidence
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.tables import NODE_INTERVALS, POD_STAT
from kepler_train.contract.window import Window, shards_of

PART_FILE = "part.json"
PARQUET = ".parquet"
LEAST_OF_BLOCK = 10
"""Half of the intervals of a block."""


class NodeSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One node in a part."""

    cpu_architecture: str
    node_intervals: int
    pod_rows: int
    mean_millijoules: float
    """Mean measured energy of a node interval: of the *training* part in both parts, the constant baseline."""
    least_millijoules: float = 0.0
    """Mean energy of a node interval in the block of the *training* part in which it was least; 0 where not known."""


class Part(Document, frozen=True, kw_only=True):
    """What `assemble` made for one group: the description of a training or held-out part."""

    window: Window
    group: FeatureGroup
    part: str
    """`training` or `held_out`."""
    nodes: dict[str, NodeSummary]
    pod_rows: int
    node_intervals: int
    blocks: int
    set_apart: dict[str, int]
    """Reason to number of node intervals left out of both parts."""
    without_signal: tuple[str, ...]
    """Features of the group that hold one value in the whole training part."""
    split_evidence: SplitEvidence | None = None
    """How well the training part tells workloads apart; in the held-out part None."""
    notes: tuple[str, ...] = ()
    """What a person should know: where the energy comes from, ..."""

    @property
    def features(self) -> tuple[str, ...]:
        """The group's features, in the order of the batches' columns."""
        return self.group.features


@dataclass(frozen=True)
class IntervalBatch:
    """Some node intervals of one node, with all their pod rows.

    `pods` is (m, n) float64: the group's numeric features in canonical order; the rows of interval i are
    `pods[starts[i]:starts[i + 1]]`. All other arrays have one value per interval (k,).
    """

    node: str
    cpu_architecture: str
    features: tuple[str, ...]
    pods: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    energy_millijoules: npt.NDArray[np.float64]
    timestamp_milliseconds: npt.NDArray[np.int64]
    block_start_seconds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.energy_millijoules)

    def request(self) -> npt.NDArray[np.float64] | npt.NDArray[np.object_]:
        """The (m, n) array an estimator would form; of dtype object, category last, where the group has one."""
        if ARCHITECTURE not in self.features:
            return self.pods
        category = np.full((len(self.pods), 1), self.cpu_architecture, dtype=object)
        return np.hstack([self.pods.astype(object), category])

    def sum_over_pods(self, per_pod: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Add up values per pod row, (m,) or (m, c), into values per node interval, (k,) or (k, c)."""
        totals = np.zeros((len(per_pod) + 1, *per_pod.shape[1:]))
        np.cumsum(per_pod, axis=0, out=totals[1:])
        sums: npt.NDArray[np.float64] = totals[self.starts[1:]] - totals[self.starts[:-1]]
        return sums


def least_of_blocks(energy: npt.NDArray[np.float64], block_start_seconds: npt.NDArray[np.int64]) -> float:
    """The mean energy of the block with the least, of those with LEAST_OF_BLOCK intervals; infinity without any.

    Single intervals are too noisy to say what a node uses at least.
    """
    _, block, counts = np.unique(block_start_seconds, return_inverse=True, return_counts=True)
    means = np.bincount(block, energy) / counts
    return float(means[counts >= LEAST_OF_BLOCK].min(initial=np.inf))


def read_part(folder: Path) -> Part:
    """Read a part's description."""
    return Part.read(folder / PART_FILE)


def interval_batches(folder: Path) -> Iterator[IntervalBatch]:
    """Go through a part's node intervals in batches of one row group, by node and time, in bounded memory.

    Raises BrokenContract where the pods of a batch do not belong to its node intervals.
    """
    part = read_part(folder)
    pod_columns = ["timestamp", *(feature for feature in part.features if feature != ARCHITECTURE)]
    interval_columns = ["timestamp", "node", "node_energy_millijoules", "block_start_seconds"]
    for shard in shards_of(folder):
        with (
            pq.ParquetFile(shard / f"{POD_STAT}{PARQUET}") as pods,
            pq.ParquetFile(shard / f"{NODE_INTERVALS}{PARQUET}") as intervals,
        ):
            if pods.num_row_groups != intervals.num_row_groups:
                raise BrokenContract(
                    f"{shard} is damaged: its pods and node intervals differ in row groups; assemble again"
                )
            for index in range(intervals.num_row_groups):
                pod_rows = pods.read_row_group(index, columns=pod_columns)
                yield _batch(pod_rows, intervals.read_row_group(index, columns=interval_columns), part, shard)


def _batch(pods: pa.Table, intervals: pa.Table, part: Part, shard: Path) -> IntervalBatch:
    times = _milliseconds(intervals)
    starts = np.append(np.searchsorted(_milliseconds(pods), times, side="left"), len(pods)).astype(np.int64)
    if len(pods) and starts[0] != 0:
        raise BrokenContract(f"{shard} is damaged: pods before the first node interval of a row group; assemble again")
    numeric = [feature for feature in part.features if feature != ARCHITECTURE]
    columns = [pods.column(feature).to_numpy() for feature in numeric]
    node = intervals.column("node")[0].as_py()
    return IntervalBatch(
        node=node,
        cpu_architecture=part.nodes[node].cpu_architecture,
        features=part.features,
        pods=np.column_stack(columns).astype(np.float64, copy=False),
        starts=starts,
        energy_millijoules=intervals.column("node_energy_millijoules").to_numpy(),
        timestamp_milliseconds=times,
        block_start_seconds=intervals.column("block_start_seconds").to_numpy(),
    )


def _milliseconds(table: pa.Table) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = table.column("timestamp").cast(pa.int64()).to_numpy()
    return times
