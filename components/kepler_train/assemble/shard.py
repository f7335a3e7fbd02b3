"""One shard of a window in memory: the tables of one node and span of time that a feature group needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kepler_train.contract.errors import BrokenContract
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.parts import PARQUET
from kepler_train.contract.tables import (
    DUPLICATE,
    FREQUENCY,
    FREQUENCY_SCHEMA,
    NODE_STAT,
    NODE_STAT_SCHEMA,
    PACKAGE,
    PACKAGE_SCHEMA,
    POD_STAT,
    SCHEMAS,
    SET_APART,
)
from kepler_train.contract.window import shard_node

Times = npt.NDArray[np.int64]
"""UTC milliseconds."""


@dataclass(frozen=True)
class Shard:
    """The rows of one node and span, each table in time order."""

    node: str
    name: str
    pods: pa.Table
    node_rows: pa.Table
    frequencies: pa.Table
    packages: pa.Table
    lost_pod_times: Times
    """When a pod's sample was set apart and no twin of it was kept."""
    lost_package_times: Times
    """The same of a package's: one whose samples were all set apart is in no row, yet its node has it."""


def numeric_features(group: FeatureGroup) -> list[str]:
    """The group's features that are numbers of a pod, in canonical order."""
    return [feature for feature in group.features if feature != ARCHITECTURE]


def read_shard(folder: Path, group: FeatureGroup) -> Shard:
    """Read what a group needs of a shard: its own features only, and the node's tables."""
    pod_columns = ["timestamp", "node", "pod_name", "pod_namespace", *numeric_features(group), "pod_energy_millijoules"]
    set_apart = read_table(folder, SET_APART, ["timestamp", "table", "reason"])
    lost = set_apart.filter(pc.not_equal(set_apart.column("reason").cast(pa.string()), DUPLICATE))
    return Shard(
        node=shard_node(folder),
        name=folder.name,
        pods=_in_time_order(folder, POD_STAT, pod_columns),
        node_rows=_in_time_order(folder, NODE_STAT, NODE_STAT_SCHEMA.names),
        frequencies=_in_time_order(folder, FREQUENCY, FREQUENCY_SCHEMA.names),
        packages=_in_time_order(folder, PACKAGE, PACKAGE_SCHEMA.names),
        lost_pod_times=_lost_times(lost, POD_STAT),
        lost_package_times=_lost_times(lost, PACKAGE),
    )


def read_table(folder: Path, table: str, columns: list[str]) -> pa.Table:
    """Read columns of one table of a shard; a table that was not extracted is an empty one."""
    path = folder / f"{table}{PARQUET}"
    if not path.is_file():
        return pa.schema([SCHEMAS[table].field(column) for column in columns]).empty_table()
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=columns).unify_dictionaries().combine_chunks()
    except (pa.ArrowException, OSError) as cause:
        raise BrokenContract(f"cannot read {path}: {cause}; extract this window again") from cause


def times_of(table: pa.Table) -> Times:
    """The time of each row in UTC milliseconds."""
    times: Times = table.column("timestamp").cast(pa.int64()).to_numpy()
    return times


def numbers(table: pa.Table, column: str) -> npt.NDArray[np.float64]:
    """A column as float64, NaN where a value is missing."""
    values: npt.NDArray[np.float64] = table.column(column).to_numpy()
    return values


def _lost_times(lost: pa.Table, table: str) -> Times:
    return np.unique(times_of(lost.filter(pc.equal(lost.column("table").cast(pa.string()), table))))


def _in_time_order(folder: Path, table: str, columns: list[str]) -> pa.Table:
    rows = read_table(folder, table, columns)
    times = times_of(rows)
    if np.any(times[1:] < times[:-1]):
        raise BrokenContract(f"{folder / table}{PARQUET} is not in time order; extract this window again")
    return rows
