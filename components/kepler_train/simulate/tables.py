"""A stretch as Arrow tables: those of the contract, as extraction would make them, and the truth it cannot know."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kepler_train.contract.features import ARCHITECTURE, WORKLOAD_FEATURES
from kepler_train.contract.tables import (
    FREQUENCY,
    FREQUENCY_SCHEMA,
    NODE_ENERGY_PARTS,
    NODE_STAT,
    NODE_STAT_SCHEMA,
    PACKAGE,
    PACKAGE_SCHEMA,
    POD_STAT,
    POD_STAT_SCHEMA,
)
from kepler_train.simulate.cluster import Stretch
from kepler_train.simulate.randomness import Floats, Ints

_name = pa.dictionary(pa.int32(), pa.string())
_timestamp = pa.timestamp("ms", tz="UTC")

TRUTH_SCHEMA = pa.schema(
    [
        pa.field("timestamp", _timestamp, nullable=False),
        pa.field("node", _name, nullable=False),
        pa.field("pod_name", _name),
        pa.field("pod_namespace", _name),
        pa.field("kind", _name),
        pa.field("power_millijoules", pa.float64()),
        pa.field("idle_millijoules", pa.float64()),
    ]
)
"""One row per pod and interval: its true dynamic energy, and its node's true idle energy, both per interval."""


def window_tables(stretch: Stretch) -> dict[str, pa.Table]:
    """The four tables of a window, by the contract's names; faults are an exporter's and not in here."""
    return {
        POD_STAT: _pods(stretch),
        NODE_STAT: _nodes(stretch),
        FREQUENCY: _frequencies(stretch),
        PACKAGE: _packages(stretch),
    }


def truth_table(stretch: Stretch) -> pa.Table:
    """What every pod of a stretch truly used, in TRUTH_SCHEMA."""
    columns = {
        **_pod_names(stretch),
        "kind": _dictionary(stretch.row_pod, [pod.kind for pod in stretch.pods]),
        "power_millijoules": stretch.truth_millijoules,
        "idle_millijoules": np.full(len(stretch.row_pod), stretch.idle_millijoules),
    }
    return _table(TRUTH_SCHEMA, stretch, stretch.row_interval, columns)


def _pods(stretch: Stretch) -> pa.Table:
    columns = {
        **_pod_names(stretch),
        **_columns(stretch.features),
        "pod_energy_millijoules": stretch.attributed_millijoules.astype(np.float64),
    }
    return _table(POD_STAT_SCHEMA, stretch, stretch.row_interval, columns)


def _nodes(stretch: Stretch) -> pa.Table:
    intervals = len(stretch.index)
    package = stretch.node_energy_millijoules / 1e3
    dram = stretch.dram_millijoules.sum(axis=1) / 1e3
    joule = {"core": package - dram, "dram": dram, "pkg": package}
    columns = {
        ARCHITECTURE: _dictionary(np.zeros(intervals, np.int64), [stretch.cpu_architecture]),
        **{f"node_curr_{name.removeprefix('curr_')}": sums for name, sums in _columns(stretch.node_sums()).items()},
        **{f"node_curr_energy_in_{part}_joule": joule.get(part, np.zeros(intervals)) for part in NODE_ENERGY_PARTS},
    }
    return _table(NODE_STAT_SCHEMA, stretch, np.arange(intervals), columns)


def _frequencies(stretch: Stretch) -> pa.Table:
    intervals, cpus = stretch.cpu_frequency_kilohertz.shape
    columns = {
        "cpu": _numbered(intervals, cpus),
        "frequency_hertz": stretch.cpu_frequency_kilohertz.reshape(-1) * 1e3,
    }
    return _table(FREQUENCY_SCHEMA, stretch, np.repeat(np.arange(intervals), cpus), columns)


def _packages(stretch: Stretch) -> pa.Table:
    intervals, packages = stretch.package_millijoules.shape
    columns = {
        "pkg_id": _numbered(intervals, packages),
        "package_energy_millijoules": stretch.package_millijoules.reshape(-1).astype(np.float64),
        "core_energy_millijoules": np.zeros(intervals * packages),
        "dram_energy_millijoules": stretch.dram_millijoules.reshape(-1).astype(np.float64),
        "uncore_energy_millijoules": np.zeros(intervals * packages),
    }
    return _table(PACKAGE_SCHEMA, stretch, np.repeat(np.arange(intervals), packages), columns)


def _table(
    schema: pa.Schema, stretch: Stretch, interval: Ints, columns: dict[str, pa.Array | npt.NDArray[np.float64]]
) -> pa.Table:
    columns = {
        "timestamp": pa.array(stretch.timestamp_milliseconds[interval]).cast(_timestamp),
        "node": _dictionary(np.zeros(len(interval), np.int64), [stretch.node]),
        **columns,
    }
    return pa.Table.from_arrays([pa.array(columns[name]) for name in schema.names], schema=schema)


def _columns(features: Floats) -> dict[str, Floats]:
    return {name: np.ascontiguousarray(features[:, at]) for at, name in enumerate(WORKLOAD_FEATURES)}


def _pod_names(stretch: Stretch) -> dict[str, pa.Array]:
    return {
        "pod_name": _dictionary(stretch.row_pod, [pod.name for pod in stretch.pods]),
        "pod_namespace": _dictionary(stretch.row_pod, [pod.namespace for pod in stretch.pods]),
    }


def _numbered(intervals: int, things: int) -> pa.Array:
    return _dictionary(np.tile(np.arange(things), intervals), [str(thing) for thing in range(things)])


def _dictionary(codes: Ints, values: list[str]) -> pa.Array:
    distinct = list(dict.fromkeys(values))
    code_of = np.array([distinct.index(value) for value in values], dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(code_of[codes]), pa.array(distinct, pa.string()))
