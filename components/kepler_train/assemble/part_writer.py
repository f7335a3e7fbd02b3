"""Writing a part: shards whose tables share their row groups, and the sums that describe them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kepler_train.assemble.intervals import Intervals
from kepler_train.assemble.shard import Shard, Times, numbers, numeric_features, times_of
from kepler_train.contract.documents import writing
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.held_out import block_starts
from kepler_train.contract.parts import PARQUET, least_of_blocks
from kepler_train.contract.tables import (
    FREQUENCY,
    NODE_INTERVALS,
    NODE_INTERVALS_SCHEMA,
    NODE_STAT_SCHEMA,
    PACKAGE,
    POD_STAT,
)
from kepler_train.contract.window import SHARDS

ROW_GROUP_POD_ROWS = 65_536
"""The size of what readers hold in memory at once."""


@dataclass
class NodeTotals:
    """What was written of one node."""

    node_intervals: int = 0
    pod_rows: int = 0
    energy_millijoules: float = 0.0
    least_millijoules: float = np.inf
    """Of the block with the least mean energy."""


@dataclass
class PartWriter:
    """Writes one part's shards into a folder, which must hold none, and keeps count."""

    folder: Path
    group: FeatureGroup
    nodes: dict[str, NodeTotals] = field(default_factory=dict)
    blocks: set[int] = field(default_factory=set)
    least: dict[str, float] = field(default_factory=dict)
    """Feature to its smallest value in any pod row."""
    most: dict[str, float] = field(default_factory=dict)

    @property
    def node_intervals(self) -> int:
        """How many node intervals were written."""
        return sum(totals.node_intervals for totals in self.nodes.values())

    @property
    def pod_rows(self) -> int:
        """How many pod rows were written."""
        return sum(totals.pod_rows for totals in self.nodes.values())

    @property
    def energy_millijoules(self) -> float:
        """The energy of all node intervals written."""
        return sum(totals.energy_millijoules for totals in self.nodes.values())

    def write(self, shard: Shard, intervals: Intervals, part: int, architecture: str) -> None:
        """Write those intervals of a shard that belong to this part, with their rows in all tables."""
        chosen = intervals.part == part
        times, energy = intervals.times[chosen], intervals.energy_millijoules[chosen]
        if not len(times):
            return
        tables = {
            table: rows.filter(pa.array(np.isin(times_of(rows), times)))
            for table, rows in ((POD_STAT, shard.pods), (FREQUENCY, shard.frequencies), (PACKAGE, shard.packages))
        }
        self._count(shard.node, times, energy, tables[POD_STAT])
        if ARCHITECTURE in self.group.features:
            category = _constant(architecture, len(tables[POD_STAT]))
            tables[POD_STAT] = tables[POD_STAT].append_column(ARCHITECTURE, category)
        tables[NODE_INTERVALS] = _node_intervals(shard, times, energy, architecture)
        row_groups = first_times(times, times_of(tables[POD_STAT]), ROW_GROUP_POD_ROWS)
        with writing(self.folder):
            _write_shard(self.folder / SHARDS / shard.name, tables, row_groups)

    def without_signal(self, architectures: dict[str, str]) -> tuple[str, ...]:
        """The group's features that hold one value in all that was written."""
        values = {ARCHITECTURE: len({architectures[node] for node in self.nodes})}
        return tuple(
            feature
            for feature in self.group.features
            if (values[feature] == 1 if feature in values else self.least.get(feature) == self.most.get(feature))
        )

    def _count(self, node: str, times: Times, energy: npt.NDArray[np.float64], pods: pa.Table) -> None:
        totals = self.nodes.setdefault(node, NodeTotals())
        totals.node_intervals += len(times)
        totals.pod_rows += len(pods)
        totals.energy_millijoules += float(energy.sum())
        blocks = block_starts(times)
        totals.least_millijoules = min(totals.least_millijoules, least_of_blocks(energy, blocks))
        self.blocks.update(np.unique(blocks).tolist())
        for feature in numeric_features(self.group) if len(pods) else ():
            values = numbers(pods, feature)
            self.least[feature] = min(self.least.get(feature, np.inf), float(values.min()))
            self.most[feature] = max(self.most.get(feature, -np.inf), float(values.max()))


def _node_intervals(shard: Shard, times: Times, energy: npt.NDArray[np.float64], architecture: str) -> pa.Table:
    """The node's own rows at these times, null where it has none, with energy and block beside them."""
    row_times = times_of(shard.node_rows)
    absent = ~np.isin(times, row_times)
    rows = shard.node_rows.take(pa.array(np.searchsorted(row_times, times), mask=absent))
    columns = {
        **{name: rows.column(name) for name in NODE_STAT_SCHEMA.names},
        "timestamp": pa.array(times).cast(NODE_INTERVALS_SCHEMA.field("timestamp").type),
        "node": _constant(shard.node, len(times)),
        ARCHITECTURE: _constant(architecture, len(times)),
        "node_energy_millijoules": pa.array(energy),
        "block_start_seconds": pa.array(block_starts(times)),
    }
    return pa.table([columns[name] for name in NODE_INTERVALS_SCHEMA.names], schema=NODE_INTERVALS_SCHEMA)


def _constant(name: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([name]))


def first_times(times: Times, pod_times: Times, most_pod_rows: int) -> Times:
    """The first interval of each row group, which holds at most so many pod rows, or a single interval.

    `times` are all intervals, `pod_times` those of the pod rows, both in time order.
    """
    rows_before = np.append(np.searchsorted(pod_times, times), len(pod_times))
    first = [0]
    while True:
        fitting = np.searchsorted(rows_before, rows_before[first[-1]] + most_pod_rows, side="right") - 1
        following = max(int(fitting), first[-1] + 1)
        if following >= len(times):
            return times[first]
        first.append(following)


def _write_shard(folder: Path, tables: dict[str, pa.Table], first_times: Times) -> None:
    """Write each table in row groups that begin at the same times; the folder gets its name when it is complete."""
    unfinished = folder.with_name(f".unfinished-{folder.name.replace('@', '-')}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, rows in tables.items():
        if not len(rows) and name not in (POD_STAT, NODE_INTERVALS):
            continue
        ends = [*np.searchsorted(times_of(rows), first_times[1:]), len(rows)]
        names = [column.name for column in rows.schema if pa.types.is_dictionary(column.type)]
        with pq.ParquetWriter(
            unfinished / f"{name}{PARQUET}", rows.schema, use_dictionary=names, write_statistics=False
        ) as writer:
            for start, end in zip([0, *ends[:-1]], ends, strict=True):
                writer.write_table(rows.slice(start, end - start), row_group_size=max(end - start, 1))
    unfinished.rename(folder)
