"""The tables that pass between steps, as Arrow schemas. Units stand in names; times are UTC milliseconds.

A window is kept as *shards*: one folder per node and span of time, each holding the tables below as Parquet, rows in
time order. A shard is complete when its folder has its final name, so an interrupted extraction goes on where it was.
"""

from __future__ import annotations

import pyarrow as pa

from kepler_train.contract.features import ARCHITECTURE, WORKLOAD_FEATURES

POD_STAT = "pod_stat_data"
NODE_STAT = "node_stat_data"
FREQUENCY = "freq_data"
PACKAGE = "pkg_data"
SET_APART = "set_apart"

METRIC_OF_TABLE = {
    POD_STAT: "pod_energy_stat",
    NODE_STAT: "node_energy_stat",
    FREQUENCY: "node_cpu_scaling_frequency_hertz",
    PACKAGE: "node_package_energy_millijoule",
}

NODE_ENERGY_PARTS = ("core", "dram", "gpu", "other", "pkg", "uncore")

_timestamp = pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False)
_node = pa.field("node", pa.dictionary(pa.int32(), pa.string()), nullable=False)


def _name(column: str) -> pa.Field:
    return pa.field(column, pa.dictionary(pa.int32(), pa.string()))


def _number(column: str) -> pa.Field:
    return pa.field(column, pa.float64())


POD_STAT_SCHEMA = pa.schema(
    [_timestamp, _node, _name("pod_name"), _name("pod_namespace")]
    + [_number(feature) for feature in WORKLOAD_FEATURES]
    + [_number("pod_energy_millijoules")]
)
"""One row per pod and interval; `pod_energy_millijoules` is what Kepler attributed: never a training target."""

NODE_STAT_SCHEMA = pa.schema(
    [_timestamp, _node, _name(ARCHITECTURE)]
    + [_number(f"node_curr_{feature.removeprefix('curr_')}") for feature in WORKLOAD_FEATURES]
    + [_number(f"node_curr_energy_in_{part}_joule") for part in NODE_ENERGY_PARTS]
)
"""One row per node and interval."""

FREQUENCY_SCHEMA = pa.schema([_timestamp, _node, _name("cpu"), _number("frequency_hertz")])
"""One row per node, cpu and interval; hertz, whatever unit the exporter wrote."""

PACKAGE_SCHEMA = pa.schema(
    [
        _timestamp,
        _node,
        _name("pkg_id"),
        _number("package_energy_millijoules"),
        _number("core_energy_millijoules"),
        _number("dram_energy_millijoules"),
        _number("uncore_energy_millijoules"),
    ]
)
"""One row per node, package and interval: counter differences over the interval that ends at `timestamp`."""

SET_APART_SCHEMA = pa.schema([_timestamp, _node, _name("table"), _name("reason"), pa.field("detail", pa.string())])
"""One row per sample that was read but is no measurement; an interval that lost a pod row is not trained on."""

DUPLICATE = "duplicate"
"""The one reason in `set_apart` by which nothing is lost: the sample's twin was kept."""

READ_TOO_RARELY = ("first_sample", "gap")
"""The reasons in `set_apart` of a counter's sample that is not about one interval after the one before it."""

SCHEMAS = {
    POD_STAT: POD_STAT_SCHEMA,
    NODE_STAT: NODE_STAT_SCHEMA,
    FREQUENCY: FREQUENCY_SCHEMA,
    PACKAGE: PACKAGE_SCHEMA,
    SET_APART: SET_APART_SCHEMA,
}

NODE_INTERVALS = "node_intervals"
NODE_INTERVALS_SCHEMA = pa.schema(
    [*NODE_STAT_SCHEMA, _number("node_energy_millijoules"), pa.field("block_start_seconds", pa.int64())]
)
"""An assembled part's node table: what the node measured, and the block of time it belongs to."""

TRACE_SCHEMA = pa.schema(
    [
        _timestamp,
        _node,
        _number("measured_millijoules"),
        _number("candidate_millijoules"),
        _number("champion_millijoules"),
        pa.field("block_start_seconds", pa.int64()),
    ]
)
"""What evaluation leaves for plots: some held-out node intervals, evenly chosen, by node and time.

`champion_millijoules` is null where there was no champion to score; a candidate without scores leaves no rows.
"""
