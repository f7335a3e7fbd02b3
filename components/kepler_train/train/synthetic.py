"""A small cluster whose every pod's power is a known sum, for checking training pipelines: no physics, no faults.

Every pod's power is a constant per cycle, instruction and cache miss, so a sound pipeline finds it; the simulator is
the judge of how well one does in a world that is not that kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kepler_train.contract.features import WORKLOAD_FEATURES, FeatureGroup
from kepler_train.contract.held_out import TRAINING, block_starts, split
from kepler_train.contract.parts import PARQUET, PART_FILE, NodeSummary, Part
from kepler_train.contract.tables import (
    FREQUENCY,
    FREQUENCY_SCHEMA,
    NODE_ENERGY_PARTS,
    NODE_INTERVALS,
    NODE_INTERVALS_SCHEMA,
    PACKAGE,
    PACKAGE_SCHEMA,
    POD_STAT,
    POD_STAT_SCHEMA,
)
from kepler_train.contract.window import INTERVAL_SECONDS, SHARDS, RecordingSource, Window, shard_name

Array = npt.NDArray[np.float64]
Tables = dict[str, pa.Table]

START = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
MILLIJOULES_PER_CYCLE, MILLIJOULES_PER_INSTRUCTION, MILLIJOULES_PER_MISS = 1.2e-6, 0.8e-6, 4e-5
ARCHITECTURE_FACTORS = {"Broadwell": 1.0, "Sky Lake": 1.5}
"""Architecture to how much more a pod needs there."""
IDLE_MILLIJOULES = 150_000.0
NOISE = 0.01
ROW_GROUP_INTERVALS = 100


@dataclass(frozen=True)
class SyntheticNode:
    """What one node did: k node intervals, the same m / k pods in each."""

    name: str
    cpu_architecture: str
    idle_millijoules: float
    timestamp_milliseconds: npt.NDArray[np.int64]
    """(k,)"""
    pods: Array
    """(m, 11): the columns of WORKLOAD_FEATURES, by interval."""
    power_millijoules: Array
    """(m,): the truth."""
    energy_millijoules: Array
    """(k,): measured, with noise."""

    @property
    def pods_per_interval(self) -> int:
        """The number of pods, which does not change."""
        return len(self.pods) // len(self.energy_millijoules)


def cluster(
    *, nodes: int = 2, intervals: int = 500, pods: int = 6, seed: int = 1, architectures: Sequence[str] = ("Broadwell",)
) -> list[SyntheticNode]:
    """Make nodes whose pods vary independently and rest now and then; the same for the same arguments."""
    return [
        _node(f"node{number + 1}", architectures[number % len(architectures)], intervals, pods, seed * 1000 + number)
        for number in range(nodes)
    ]


def write_part(nodes: Sequence[SyntheticNode], group: FeatureGroup, out: Path) -> Part:
    """Write the training intervals of nodes as a part of a group to the folder `out`, with all tables."""
    summaries = {}
    for node in nodes:
        chosen = split(node.timestamp_milliseconds, INTERVAL_SECONDS) == TRAINING
        _write_shard(_tables(node, chosen), out / SHARDS / shard_name(node.name, START))
        summaries[node.name] = NodeSummary(
            cpu_architecture=node.cpu_architecture,
            node_intervals=int(chosen.sum()),
            pod_rows=int(chosen.sum()) * node.pods_per_interval,
            mean_millijoules=float(node.energy_millijoules[chosen].mean()),
        )
    times = np.concatenate([node.timestamp_milliseconds for node in nodes])
    part = Part(
        window=Window(run_id="synthetic", source=RecordingSource(files=())),
        group=group,
        part="training",
        nodes=summaries,
        pod_rows=sum(summary.pod_rows for summary in summaries.values()),
        node_intervals=sum(summary.node_intervals for summary in summaries.values()),
        blocks=len(np.unique(block_starts(times[split(times, INTERVAL_SECONDS) == TRAINING]))),
        set_apart={},
        without_signal=(),
    )
    part.write(out / PART_FILE)
    return part


def _node(name: str, architecture: str, intervals: int, pods: int, seed: int) -> SyntheticNode:
    random = np.random.default_rng(seed)
    instructions_per_cycle = random.uniform(0.5, 2.5, pods)
    misses_per_instruction = random.uniform(0.5e-3, 10e-3, pods)
    busy = random.uniform(0.05, 1.0, (intervals, pods)) * random.uniform(0.5, 3.0, pods)
    busy[np.arange(intervals) % 50 < 5] *= 0.01
    cycles = busy * 3 * 2.6e9 * random.uniform(0.97, 1.03, busy.shape)
    instructions = cycles * instructions_per_cycle * random.uniform(0.95, 1.05, busy.shape)
    misses = instructions * misses_per_instruction * random.uniform(0.9, 1.1, busy.shape)
    used = {
        "curr_cache_miss": misses,
        "curr_cpu_cycles": cycles,
        "curr_cpu_instr": instructions,
        "curr_cgroupfs_cpu_usage_us": busy * 3e6,
        "curr_cgroupfs_memory_usage_bytes": np.broadcast_to(random.uniform(1e7, 1e9, pods), busy.shape),
        "curr_cgroupfs_system_cpu_usage_us": busy * 3e5,
        "curr_cgroupfs_user_cpu_usage_us": busy * 2.7e6,
        "curr_bytes_read": np.zeros_like(busy),
        "curr_bytes_writes": busy * random.uniform(0, 1e6, busy.shape),
        "curr_cpu_time": busy * 3000,
        "container_cpu_usage_seconds_total": busy * 3,
        "container_memory_working_set_bytes": np.broadcast_to(random.uniform(1e7, 1e9, pods), busy.shape),
    }
    each = cycles * MILLIJOULES_PER_CYCLE + instructions * MILLIJOULES_PER_INSTRUCTION + misses * MILLIJOULES_PER_MISS
    power = each * ARCHITECTURE_FACTORS[architecture]
    idle = IDLE_MILLIJOULES * random.uniform(0.9, 1.1)
    return SyntheticNode(
        name=name,
        cpu_architecture=architecture,
        idle_millijoules=idle,
        timestamp_milliseconds=round(START.timestamp() * 1000) + 3000 * np.arange(1, intervals + 1, dtype=np.int64),
        pods=np.stack([used[feature] for feature in WORKLOAD_FEATURES], axis=-1).reshape(intervals * pods, -1),
        power_millijoules=power.reshape(-1),
        energy_millijoules=(power.sum(axis=1) + idle) * random.normal(1.0, NOISE, intervals),
    )


def _tables(node: SyntheticNode, chosen: npt.NDArray[np.bool_]) -> Tables:
    times, energy, count = node.timestamp_milliseconds[chosen], node.energy_millijoules[chosen], node.pods_per_interval
    rows = np.repeat(chosen, count)
    pods = node.pods[rows]
    sums = pods.reshape(len(times), count, -1).sum(axis=1)
    names = [f"pod-{number}" for number in range(count)] * len(times)
    return {
        POD_STAT: _table(
            POD_STAT_SCHEMA,
            timestamp=np.repeat(times, count),
            node=[node.name] * len(pods),
            pod_name=names,
            pod_namespace=["default"] * len(pods),
            pod_energy_millijoules=node.power_millijoules[rows],
            **dict(zip(WORKLOAD_FEATURES, pods.T, strict=True)),
        ),
        NODE_INTERVALS: _table(
            NODE_INTERVALS_SCHEMA,
            timestamp=times,
            node=[node.name] * len(times),
            cpu_architecture=[node.cpu_architecture] * len(times),
            node_energy_millijoules=energy,
            block_start_seconds=block_starts(times),
            **{f"node_curr_{f.removeprefix('curr_')}": s for f, s in zip(WORKLOAD_FEATURES, sums.T, strict=True)},
            **{f"node_curr_energy_in_{part}_joule": np.zeros(len(times)) for part in NODE_ENERGY_PARTS},
        ),
        FREQUENCY: _table(
            FREQUENCY_SCHEMA,
            timestamp=times,
            node=[node.name] * len(times),
            cpu=["0"] * len(times),
            frequency_hertz=np.full(len(times), 2.6e9),
        ),
        PACKAGE: _table(
            PACKAGE_SCHEMA,
            timestamp=times,
            node=[node.name] * len(times),
            pkg_id=["0"] * len(times),
            package_energy_millijoules=energy,
            core_energy_millijoules=np.zeros(len(times)),
            dram_energy_millijoules=np.zeros(len(times)),
            uncore_energy_millijoules=np.zeros(len(times)),
        ),
    }


def _table(schema: pa.Schema, **columns: Array | npt.NDArray[np.int64] | list[str]) -> pa.Table:
    return pa.table([_column(field.type, columns[field.name]) for field in schema], schema=schema)


def _column(kind: pa.DataType, values: Array | npt.NDArray[np.int64] | list[str]) -> pa.Array:
    return pa.array(values).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values).cast(kind)


def _write_shard(tables: Tables, folder: Path) -> None:
    """Write tables whose row groups begin at the same times."""
    folder.mkdir(parents=True)
    intervals = len(tables[NODE_INTERVALS])
    for name, rows in tables.items():
        per_interval = len(rows) // intervals
        pq.write_table(rows, folder / f"{name}{PARQUET}", row_group_size=ROW_GROUP_INTERVALS * per_interval)
