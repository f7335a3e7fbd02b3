"""A training part on disk, as the step before training would leave it, of any number of simulated pod rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.accuracy.rows import Rows
from benchmarks.accuracy.simulated import simulate

from kepler_train.assemble.part_writer import ROW_GROUP_POD_ROWS
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.held_out import block_starts
from kepler_train.contract.parts import PARQUET, PART_FILE, IntervalBatch, NodeSummary, Part
from kepler_train.contract.tables import NODE_INTERVALS, NODE_INTERVALS_SCHEMA, POD_STAT
from kepler_train.contract.window import INTERVAL_SECONDS, SHARDS, RecordingSource, Window, shard_name
from kepler_train.simulate.spec import SimulationSpec

_POD_ROWS_PER_INTERVAL = 11.0
"""At least so many come from 14 places for pods."""
_NODES = 12


def simulated_rows(group: FeatureGroup, pod_rows: int) -> Rows:
    """Simulate at least so many pod rows of a group, in batches of the size that a part is read in."""
    intervals = pod_rows / _POD_ROWS_PER_INTERVAL / _NODES
    spec = SimulationSpec(seed=7, nodes=_NODES, duration_seconds=intervals * INTERVAL_SECONDS, faults=False)
    rows = simulate(spec).of_group(group)
    return Rows(tuple(piece for batch in rows.batches for piece in _pieces(batch)))


def write(rows: Rows, group: FeatureGroup, times: int, folder: Path) -> None:
    """Write a part that holds the rows so many times, one after another in time."""
    for repeat in range(times):
        for batch in rows.batches:
            _write_shard(_later(batch, repeat), folder)
    energy, nodes = rows.energy_millijoules, rows.nodes
    counts = {
        node: sum(len(batch.pods) for batch in rows.batches if batch.node == node) for node in set(nodes.tolist())
    }
    Part(
        window=Window(run_id="benchmark", source=RecordingSource(files=())),
        group=group,
        part="training",
        nodes={
            node: NodeSummary(
                cpu_architecture=rows.batches[0].cpu_architecture,
                node_intervals=int((nodes == node).sum()) * times,
                pod_rows=pod_rows * times,
                mean_millijoules=float(energy[nodes == node].mean()),
            )
            for node, pod_rows in counts.items()
        },
        pod_rows=rows.pod_rows * times,
        node_intervals=len(rows) * times,
        blocks=times * len(np.unique(np.concatenate([batch.block_start_seconds for batch in rows.batches]))),
        set_apart={},
        without_signal=(),
    ).write(folder / PART_FILE)


def _pieces(batch: IntervalBatch) -> Iterator[IntervalBatch]:
    first = 0
    while first < len(batch):
        after = np.searchsorted(batch.starts, batch.starts[first] + ROW_GROUP_POD_ROWS, side="right") - 1
        last = max(int(after), first + 1)
        begin, end = batch.starts[first], batch.starts[last]
        yield replace(
            batch,
            pods=batch.pods[begin:end],
            starts=batch.starts[first : last + 1] - begin,
            energy_millijoules=batch.energy_millijoules[first:last],
            timestamp_milliseconds=batch.timestamp_milliseconds[first:last],
            block_start_seconds=batch.block_start_seconds[first:last],
        )
        first = last


def _later(batch: IntervalBatch, repeat: int) -> IntervalBatch:
    times = batch.timestamp_milliseconds + repeat * 7 * 86_400_000
    return replace(batch, timestamp_milliseconds=times, block_start_seconds=block_starts(times))


def _write_shard(batch: IntervalBatch, folder: Path) -> None:
    start = datetime.fromtimestamp(int(batch.timestamp_milliseconds[0]) / 1000, tz=timezone.utc)
    shard = folder / SHARDS / shard_name(batch.node, start)
    shard.mkdir(parents=True)
    timestamp = NODE_INTERVALS_SCHEMA.field("timestamp").type
    tables = {
        POD_STAT: {
            "timestamp": pa.array(np.repeat(batch.timestamp_milliseconds, np.diff(batch.starts))).cast(timestamp),
            **dict(zip(batch.features, batch.pods.T, strict=True)),
        },
        NODE_INTERVALS: {
            "timestamp": pa.array(batch.timestamp_milliseconds).cast(timestamp),
            "node": pa.array([batch.node] * len(batch)).dictionary_encode(),
            "node_energy_millijoules": batch.energy_millijoules,
            "block_start_seconds": batch.block_start_seconds,
        },
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), shard / f"{name}{PARQUET}")
