"""Windows made from numbers: frames that a test may damage, written as the shards that extraction would leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kepler_train.contract.features import ARCHITECTURE, WORKLOAD_FEATURES
from kepler_train.contract.tables import (
    FREQUENCY,
    NODE_ENERGY_PARTS,
    NODE_STAT,
    PACKAGE,
    POD_STAT,
    SCHEMAS,
)
from kepler_train.contract.window import (
    INTERVAL_SECONDS,
    SHARDS,
    SUMMARY_FILE,
    RecordingSource,
    Window,
    WindowSummary,
    shard_name,
)

START_MILLISECONDS = 1_666_000_020_000
"""Begins a block that is held out; the next four hours hold training and held-out blocks in turn."""

IDLE_MILLIJOULES = 150_000.0
MILLIJOULES_PER_CPU_MILLISECOND = 20.0


@dataclass
class NodeFrames:
    """One node's tables, to be changed at will before they are written."""

    node: str
    tables: dict[str, pd.DataFrame]

    def drop(self, table: str, mask: object) -> None:
        """Remove rows."""
        self.tables[table] = self.tables[table].loc[~np.asarray(mask)].reset_index(drop=True)

    def times(self) -> np.ndarray:
        """The distinct times of the node's rows, in ms."""
        return np.unique(self.tables[NODE_STAT]["timestamp"].to_numpy())


def steady_node(
    node: str = "node1",
    *,
    intervals: int = 400,
    pods: int = 4,
    packages: int = 2,
    start: int = START_MILLISECONDS,
    seed: int = 0,
    idle: float = IDLE_MILLIJOULES,
) -> NodeFrames:
    """A node whose pods come and go and whose energy is idle + 20 mJ per ms of cpu time, without noise."""
    rng = np.random.default_rng(seed)
    times = start + (np.arange(intervals) * INTERVAL_SECONDS * 1000).astype(np.int64)
    counts = rng.integers(1, pods + 1, intervals)
    pod_times = np.repeat(times, counts)
    number = np.concatenate([np.arange(count) for count in counts])
    load = rng.uniform(0.1, 1.0, intervals) ** 2
    values = {
        feature: np.round(np.repeat(load, counts) * rng.uniform(1, 4000, len(pod_times)))
        for feature in WORKLOAD_FEATURES
    }
    features = pd.DataFrame(values)
    pod_rows = pd.DataFrame(
        {
            "timestamp": pod_times,
            "node": node,
            "pod_name": [f"pod-{n}" for n in number],
            "pod_namespace": "default",
            **features,
            "pod_energy_millijoules": features["curr_cpu_time"] * MILLIJOULES_PER_CPU_MILLISECOND,
        }
    )
    sums = features.groupby(pod_times).sum()
    energy = idle + MILLIJOULES_PER_CPU_MILLISECOND * sums["curr_cpu_time"].to_numpy()
    node_rows = pd.DataFrame(
        {
            "timestamp": times,
            "node": node,
            ARCHITECTURE: "Broadwell",
            **{f"node_curr_{feature.removeprefix('curr_')}": sums[feature].to_numpy() for feature in WORKLOAD_FEATURES},
            **{f"node_curr_energy_in_{part}_joule": 0.0 for part in NODE_ENERGY_PARTS},
        }
    )
    node_rows["node_curr_energy_in_pkg_joule"] = energy / 1000
    package_rows = pd.DataFrame(
        {
            "timestamp": np.repeat(times, packages),
            "node": node,
            "pkg_id": [str(package) for package in range(packages)] * intervals,
            "package_energy_millijoules": np.repeat(energy / packages, packages),
            "core_energy_millijoules": 0.0,
            "dram_energy_millijoules": 0.0,
            "uncore_energy_millijoules": 0.0,
        }
    )
    frequency_rows = pd.DataFrame(
        {"timestamp": np.repeat(times, 2), "node": node, "cpu": ["0", "1"] * intervals, "frequency_hertz": 2.4e9}
    )
    return NodeFrames(
        node, {POD_STAT: pod_rows, NODE_STAT: node_rows, PACKAGE: package_rows, FREQUENCY: frequency_rows}
    )


def set_apart_rows(node: str, table: str, times: list[int], reason: str = "wrapped") -> pd.DataFrame:
    """Rows that extraction read, but set apart."""
    return pd.DataFrame({"timestamp": times, "node": node, "table": table, "reason": reason, "detail": ""})


def write_window(folder: Path, *nodes: NodeFrames, shard_intervals: int = 150) -> Path:
    """Write the nodes as a window whose shards hold some intervals each, and describe it."""
    (folder / SHARDS).mkdir(parents=True)
    span = int(shard_intervals * INTERVAL_SECONDS * 1000)
    for frames in nodes:
        for number in sorted({time // span for frame in frames.tables.values() for time in frame["timestamp"]}):
            begin = datetime.fromtimestamp(number * span / 1000, timezone.utc)
            shard = folder / SHARDS / shard_name(frames.node, begin)
            shard.mkdir()
            for table, frame in frames.tables.items():
                rows = frame.loc[frame["timestamp"] // span == number]
                if len(rows):
                    pq.write_table(_to_arrow(rows, table), shard / f"{table}.parquet")
    WindowSummary(
        window=Window(run_id="run", source=RecordingSource(files=("made.json",))),
        spans=(),
        rows={table: sum(len(frames.tables.get(table, ())) for frames in nodes) for table in SCHEMAS},
        set_apart={},
        missing_metrics=(),
        nodes=tuple(frames.node for frames in nodes),
    ).write(folder / SUMMARY_FILE)
    return folder


def _to_arrow(frame: pd.DataFrame, table: str) -> pa.Table:
    columns = []
    for field in SCHEMAS[table]:
        values = pa.array(frame[field.name], from_pandas=field.name != "timestamp")
        if pa.types.is_dictionary(field.type):
            values = values.cast(pa.string()).dictionary_encode()
        columns.append(values.cast(field.type))
    return pa.table(columns, schema=SCHEMAS[table])
