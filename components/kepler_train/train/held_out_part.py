"""Writing what was held out of data frames as a held-out part, so that it is judged by the code that judges all."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kepler_train.contract.errors import NoData
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.held_out import LONG_ENOUGH
from kepler_train.contract.parts import PARQUET, PART_FILE, IntervalBatch, NodeSummary, Part, least_of_blocks
from kepler_train.contract.tables import NODE_INTERVALS, NODE_INTERVALS_SCHEMA, POD_STAT, POD_STAT_SCHEMA
from kepler_train.contract.window import SHARDS, Window, shard_name
from kepler_train.train.training_part import TrainingPart


def write_held_out(
    held_out: TrainingPart, training: TrainingPart, group: FeatureGroup, window: Window, out: Path
) -> None:
    """Write a held-out part to the folder `out`, one shard a batch; raises NoData where nothing is held out."""
    if not len(held_out):
        raise NoData(f"the frames reach into no held-out block, so nothing can be compared; give more: {LONG_ENOUGH}")
    for batch in held_out.batches():
        _write_shard(batch, out)
    describe(held_out, training, group, window).write(out / PART_FILE)


def describe(held_out: TrainingPart, training: TrainingPart, group: FeatureGroup, window: Window) -> Part:
    """Describe a held-out part; a node that was never trained on gets the mean over the nodes that were."""
    overall = float(training.energy_millijoules.mean())
    nodes = {}
    for node in np.unique(held_out.node).tolist():
        mine, trained = held_out.node == node, training.node == node
        least = least_of_blocks(training.energy_millijoules[trained], training.block_start_seconds[trained])
        nodes[node] = NodeSummary(
            cpu_architecture=str(held_out.cpu_architecture[mine][0]),
            node_intervals=int(mine.sum()),
            pod_rows=int(mine[held_out.interval].sum()),
            mean_millijoules=float(training.energy_millijoules[trained].mean()) if trained.any() else overall,
            least_millijoules=least if math.isfinite(least) else 0.0,
        )
    counts = held_out.counts()
    return Part(
        window=window,
        group=group,
        part="held_out",
        nodes=nodes,
        pod_rows=counts["pod_rows"],
        node_intervals=counts["node_intervals"],
        blocks=counts["blocks"],
        set_apart={},
        without_signal=(),
    )


def _write_shard(batch: IntervalBatch, out: Path) -> None:
    start = datetime.fromtimestamp(int(batch.timestamp_milliseconds[0]) / 1000, tz=timezone.utc)
    folder = out / SHARDS / shard_name(batch.node, start)
    folder.mkdir(parents=True)
    times = np.repeat(batch.timestamp_milliseconds, np.diff(batch.starts))
    numeric = [feature for feature in batch.features if feature != ARCHITECTURE]
    pods = {
        "timestamp": pa.array(times).cast(POD_STAT_SCHEMA.field("timestamp").type),
        "node": pa.array([batch.node] * len(times)).dictionary_encode(),
        **{name: pa.array(column) for name, column in zip(numeric, batch.pods.T, strict=True)},
    }
    intervals = {
        "timestamp": pa.array(batch.timestamp_milliseconds).cast(NODE_INTERVALS_SCHEMA.field("timestamp").type),
        "node": pa.array([batch.node] * len(batch)).dictionary_encode(),
        "node_energy_millijoules": pa.array(batch.energy_millijoules),
        "block_start_seconds": pa.array(batch.block_start_seconds),
    }
    for name, columns in ((POD_STAT, pods), (NODE_INTERVALS, intervals)):
        pq.write_table(pa.table(columns), folder / f"{name}{PARQUET}")
