"""Node intervals from data frames: pod rows aligned with their node's measured energy, held-out blocks apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from kepler_train.contract.errors import NoData, PipelineError
from kepler_train.contract.features import ARCHITECTURE
from kepler_train.contract.held_out import HELD_OUT, TRAINING, block_starts, split
from kepler_train.contract.parts import IntervalBatch
from kepler_train.contract.window import INTERVAL_SECONDS
from kepler_train.train.additive.idle import Idle
from kepler_train.train.additive.survey import sum_by_interval, survey

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BATCH_INTERVALS = 1_000
_CENTURY = (pd.Timestamp("2000-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC"))
"""Numbers of seconds, taken for milliseconds, would be of the first weeks of 1970."""
_ROUNDING, _ROUNDING_SHARE = 0.5, 1e-6
"""The exporter writes a node's sums from the same numbers as its pods' values, so they differ by rounding only."""


@dataclass(frozen=True)
class TrainingPart:
    """Node intervals ready for fitting: m pod rows of k node intervals, by node and time."""

    features: tuple[str, ...]
    pods: npt.NDArray[Any]
    """(m, n): what an estimator would ask for, columns in the order of `features`; of dtype object with a category."""
    interval: Integers
    """(m,): the number of the node interval that each pod row belongs to."""
    energy_millijoules: Array
    """(k,): what the node measured."""
    node: npt.NDArray[np.str_]
    """(k,)"""
    cpu_architecture: npt.NDArray[np.str_]
    """(k,)"""
    timestamp_milliseconds: Integers
    """(k,)"""

    def __len__(self) -> int:
        return len(self.energy_millijoules)

    @property
    def block_start_seconds(self) -> Integers:
        """(k,): the block of time of each interval; fit and judge on whole blocks, since neighbours are alike."""
        return block_starts(self.timestamp_milliseconds)

    def sum_over_pods(self, per_pod: Array) -> Array:
        """Add up values of pod rows, (m,) or (m, c), into node intervals, (k,) or (k, c)."""
        starts = np.searchsorted(self.interval, np.arange(len(self) + 1))
        return sum_by_interval(starts, np.atleast_2d(per_pod.T)).T.reshape(len(self), *per_pod.shape[1:])

    def idle(self) -> dict[str, Idle]:
        """Estimate each node's idle energy per interval from its quiet intervals, and how sure it is."""
        return survey(self.batches()).idle

    def idle_millijoules(self) -> dict[str, float]:
        """Estimate each node's idle energy per interval from its quiet intervals."""
        return {node: idle.millijoules for node, idle in self.idle().items()}

    def batches(self) -> Iterator[IntervalBatch]:
        """Go through the intervals as the workflow does: batches of one node, numeric features only."""
        numeric = [index for index, feature in enumerate(self.features) if feature != ARCHITECTURE]
        starts = np.searchsorted(self.interval, np.arange(len(self) + 1))
        changes = np.flatnonzero(self.node[1:] != self.node[:-1]) + 1
        for begin, end in zip([0, *changes], [*changes, len(self)], strict=True):
            for first in range(begin, end, BATCH_INTERVALS):
                last = min(first + BATCH_INTERVALS, end)
                yield IntervalBatch(
                    node=str(self.node[first]),
                    cpu_architecture=str(self.cpu_architecture[first]),
                    features=self.features,
                    pods=self.pods[starts[first] : starts[last]][:, numeric].astype(np.float64),
                    starts=starts[first : last + 1] - starts[first],
                    energy_millijoules=self.energy_millijoules[first:last],
                    timestamp_milliseconds=self.timestamp_milliseconds[first:last],
                    block_start_seconds=self.block_start_seconds[first:last],
                )

    def only(self, chosen: npt.NDArray[np.bool_]) -> TrainingPart:
        """Those node intervals, (k,), that are chosen."""
        rows = chosen[self.interval]
        number = np.cumsum(chosen) - 1
        return TrainingPart(
            self.features,
            self.pods[rows],
            number[self.interval[rows]],
            self.energy_millijoules[chosen],
            self.node[chosen],
            self.cpu_architecture[chosen],
            self.timestamp_milliseconds[chosen],
        )

    def counts(self) -> dict[str, int]:
        """How many pod rows, node intervals and blocks there are."""
        blocks = len(np.unique(self.block_start_seconds))
        return {"pod_rows": len(self.pods), "node_intervals": len(self), "blocks": blocks}


def aligned(
    pod_stat_data: pd.DataFrame, node_stat_data: pd.DataFrame, pkg_data: pd.DataFrame, features: tuple[str, ...]
) -> TrainingPart:
    """Align pod rows with node intervals that have a measured energy and all their pods; others are left out.

    A node's energy is the sum over its packages, or what the exporter says of them where no package is recorded.
    Raises PipelineError for frames without the columns or without times, NoData where nothing fits together.
    """
    numeric = [feature for feature in features if feature != ARCHITECTURE]
    _require(pod_stat_data, "pod_stat_data", ["timestamp", "node", *numeric])
    _require(node_stat_data, "node_stat_data", ["timestamp", "node", ARCHITECTURE, "node_curr_energy_in_pkg_joule"])
    intervals = _intervals(node_stat_data, pkg_data, [_label(feature) for feature in numeric])
    pods = _by_node_and_time(pod_stat_data, "pod_stat_data")
    pods[numeric] = pod_stat_data[numeric].to_numpy(np.float64)
    known = intervals[["node", "timestamp", ARCHITECTURE]].assign(interval=np.arange(len(intervals)))
    rows = pods.merge(known, on=["node", "timestamp"], how="inner").sort_values("interval", kind="stable")
    kept = _complete(rows, intervals, numeric)
    rows = rows.loc[np.isin(rows["interval"].to_numpy(), kept)]
    if not len(rows):
        raise NoData("no pod row is of a node interval with a measured energy; are all frames of the same window?")
    intervals = intervals.iloc[kept]
    return TrainingPart(
        features=features,
        pods=rows[list(features)].to_numpy(object if ARCHITECTURE in features else np.float64),
        interval=np.searchsorted(kept, rows["interval"].to_numpy()).astype(np.int64),
        energy_millijoules=intervals["energy"].to_numpy(np.float64),
        node=intervals["node"].to_numpy(str),
        cpu_architecture=intervals[ARCHITECTURE].to_numpy(str),
        timestamp_milliseconds=intervals["timestamp"].to_numpy(np.int64),
    )


def _complete(rows: pd.DataFrame, intervals: pd.DataFrame, numeric: list[str]) -> Integers:
    """The numbers of intervals whose pods have no holes and add up to what the node's own labels, where there, say."""
    numbers, firsts = np.unique(rows["interval"].to_numpy(), return_index=True)
    sums = sum_by_interval(np.append(firsts, len(rows)), rows[numeric].to_numpy(np.float64).T).T
    labels = intervals[[_label(feature) for feature in numeric]].to_numpy(np.float64)[numbers]
    lost = np.abs(sums - labels) > _ROUNDING + _ROUNDING_SHARE * np.abs(labels)
    complete: Integers = numbers[np.isfinite(sums).all(axis=1) & ~lost.any(axis=1)]
    return complete


def _label(feature: str) -> str:
    """The column of `node_stat_data` in which the exporter itself adds a feature up over pods."""
    return f"node_curr_{feature.removeprefix('curr_')}"


def parts_of(intervals: TrainingPart) -> tuple[TrainingPart, TrainingPart]:
    """Cut into what may be trained on and what is held out; raises NoData where nothing is left to train on."""
    part = split(intervals.timestamp_milliseconds, INTERVAL_SECONDS)
    training = intervals.only(part == TRAINING)
    if not len(training):
        raise NoData(f"all {len(intervals)} node intervals are held out; give a longer window")
    return training, intervals.only(part == HELD_OUT)


def _intervals(node_stat_data: pd.DataFrame, pkg_data: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Node intervals with a positive energy in mJ, by node and time, with their architecture and labels."""
    nodes = _by_node_and_time(node_stat_data, "node_stat_data")
    nodes[labels] = node_stat_data.reindex(columns=labels).to_numpy(np.float64)
    nodes["energy"] = node_stat_data["node_curr_energy_in_pkg_joule"].to_numpy(np.float64) * 1000
    known = node_stat_data[ARCHITECTURE].notna().to_numpy()
    architectures = dict(zip(nodes["node"][known], node_stat_data[ARCHITECTURE][known].astype(str), strict=True))
    nodes = nodes.drop_duplicates(["node", "timestamp"])
    _require(pkg_data, "pkg_data", [])
    if len(pkg_data):
        _require(pkg_data, "pkg_data", ["timestamp", "node", "pkg_id", "package_energy_millijoules"])
        nodes = _package_energies(pkg_data).merge(nodes.drop(columns="energy"), on=["node", "timestamp"], how="left")
    nodes[ARCHITECTURE] = [architectures.get(node, "unknown") for node in nodes["node"]]
    measured = nodes.loc[np.isfinite(nodes["energy"].to_numpy(np.float64)) & (nodes["energy"] > 0)]
    return pd.DataFrame(measured.sort_values(["node", "timestamp"], ignore_index=True))


def _package_energies(pkg_data: pd.DataFrame) -> pd.DataFrame:
    """Sum over packages by node and time; NaN unless each of the node's packages is there exactly once."""
    packages = _by_node_and_time(pkg_data, "pkg_data").assign(
        package=pkg_data["pkg_id"].astype(str),
        energy=pkg_data["package_energy_millijoules"].to_numpy(np.float64),
    )
    sums = packages.groupby(["node", "timestamp"], as_index=False).agg(
        energy=("energy", "sum"),
        measured=("energy", "count"),
        rows=("package", "size"),
        distinct=("package", "nunique"),
    )
    all_of_node = sums["node"].map(packages.groupby("node")["package"].nunique())
    complete = sums[["measured", "rows", "distinct"]].eq(all_of_node, axis=0).all(axis=1)
    return sums[["timestamp", "node"]].assign(energy=sums["energy"].where(complete))


def _require(frame: Any, name: str, columns: list[str]) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise PipelineError(f"{name} is a {type(frame).__name__}; give a data frame, an empty one if there is nothing")
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise PipelineError(f"{name} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}")


def _by_node_and_time(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The two columns that frames are joined by, times in UTC milliseconds whatever their zone."""
    times = _milliseconds(frame["timestamp"], name)
    return pd.DataFrame({"timestamp": times, "node": frame["node"].astype(str)})


def _milliseconds(times: pd.Series[Any], name: str) -> Integers:
    """UTC milliseconds of times with or without a zone, or of numbers that are milliseconds already."""
    numbers = pd.api.types.is_numeric_dtype(times)
    try:
        zoned = pd.to_datetime(times, utc=True, unit="ms" if numbers else None)
    except (ValueError, TypeError, OverflowError) as cause:
        raise PipelineError(f"the timestamps of {name} are no times: {cause}; give datetimes") from cause
    if not zoned.between(*_CENTURY).all():
        raise PipelineError(
            f"the timestamps of {name} are missing in places, or not of this century; give datetimes, or Unix time in "
            "milliseconds"
        )
    milliseconds: Integers = zoned.dt.tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64)
    return milliseconds
