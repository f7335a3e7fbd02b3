"""Judging node intervals: which have a measured energy and all their pods, and which part each belongs to.

An interval that is not fit is set apart under the first reason, in the order of REASONS, that holds for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kepler_train.assemble.shard import Shard, Times, numbers, times_of
from kepler_train.contract.held_out import GAP, split

NO_ENERGY = "no_energy"
IMPOSSIBLE_ENERGY = "impossible_energy"
NO_PODS = "no_pods"
LOST_POD_ROW = "lost_pod_row"
MISSING_FEATURE = "missing_feature"
INCOMPLETE = "incomplete"
GAP_BESIDE_HELD_OUT = "gap_beside_held_out"
REASONS = (NO_ENERGY, IMPOSSIBLE_ENERGY, NO_PODS, LOST_POD_ROW, MISSING_FEATURE, INCOMPLETE, GAP_BESIDE_HELD_OUT)
OF_THE_GROUP = (MISSING_FEATURE, INCOMPLETE)
"""The reasons that hold for some groups and not for others."""

MOST_NODE_WATTS = 20_000.0
"""More than any node's packages draw; a package counter that jumped shows as much more."""

SET_APART = -1
"""The part of an interval that is in neither part."""


@dataclass(frozen=True)
class Intervals:
    """A shard's node intervals in time order, (k,) each."""

    times: Times
    energy_millijoules: npt.NDArray[np.float64]
    part: npt.NDArray[np.int8]
    """TRAINING, HELD_OUT or SET_APART."""
    reasons: dict[str, int]
    """Why intervals were set apart, and how many."""
    parts_of_groups: frozenset[int]
    """The parts that would hold an interval if there were no reasons of the group."""


def judge(
    shard: Shard, features: list[str], packages: tuple[str, ...], *, from_packages: bool, interval_seconds: float
) -> Intervals:
    """Judge every interval in which the shard has a pod, a node row or a package row.

    `packages` are all that the node has; `from_packages` is False where the whole window has no package energies, or
    hardly any, and the exporter's own sum over packages (`node_curr_energy_in_pkg_joule`) stands in.
    """
    times = np.unique(np.concatenate([times_of(table) for table in (shard.pods, shard.node_rows, shard.packages)]))
    energy = _package_energy(times, shard, packages) if from_packages else _label_energy(times, shard)
    most_millijoules = MOST_NODE_WATTS * interval_seconds * 1000
    pods = np.bincount(np.searchsorted(times, times_of(shard.pods)), minlength=len(times))
    has_node_row = np.isin(times, times_of(shard.node_rows))
    missing, incomplete = _holes(times, shard, features, pods)
    parts = split(times, interval_seconds)
    unfit = {
        NO_ENERGY: np.isnan(energy),
        IMPOSSIBLE_ENERGY: (energy <= 0) | (energy > most_millijoules),
        NO_PODS: (pods == 0) & ~has_node_row,
        LOST_POD_ROW: np.isin(times, shard.lost_pod_times),
        MISSING_FEATURE: missing,
        INCOMPLETE: incomplete,
        GAP_BESIDE_HELD_OUT: parts == GAP,
    }
    first = np.select([unfit[reason] for reason in REASONS], range(len(REASONS)), default=len(REASONS))
    counts = np.bincount(first, minlength=len(REASONS) + 1)
    whole = ~np.any([unfit[reason] for reason in REASONS if reason not in OF_THE_GROUP], axis=0)
    return Intervals(
        times=times,
        energy_millijoules=energy,
        part=np.where(first == len(REASONS), parts, SET_APART).astype(np.int8),
        reasons={reason: int(count) for reason, count in zip(REASONS, counts[:-1], strict=True) if count},
        parts_of_groups=frozenset(parts[whole].tolist()),
    )


def _package_energy(times: Times, shard: Shard, packages: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Add up the packages of each interval, (k,) mJ; NaN unless each of the node's packages is there exactly once."""
    rows = shard.packages
    rows = rows.filter(pc.is_in(rows.column("pkg_id").cast(pa.string()), value_set=pa.array(packages, pa.string())))
    package = pc.index_in(rows.column("pkg_id").cast(pa.string()), value_set=pa.array(packages, pa.string())).to_numpy()
    cells = np.searchsorted(times, times_of(rows)) * len(packages) + package
    shape = (len(times), len(packages))
    present = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    values = np.bincount(cells, numbers(rows, "package_energy_millijoules"), shape[0] * shape[1]).reshape(shape)
    complete = (present == 1).all(axis=1) & bool(packages) & ~np.isin(times, shard.lost_package_times)
    return np.where(complete, values.sum(axis=1), np.nan)


def _label_energy(times: Times, shard: Shard) -> npt.NDArray[np.float64]:
    """The exporter's own sum over packages of each interval, (k,) mJ; NaN where it is missing."""
    return _at(times, shard.node_rows, "node_curr_energy_in_pkg_joule") * 1000


def _holes(
    times: Times, shard: Shard, features: list[str], pods: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Tell, (k,) each, where a pod lacks a feature, and where Σ pods is not what the node's own label says.

    The exporter writes both from the same numbers, so they differ by rounding only, unless a pod's row is missing.
    """
    missing, incomplete = np.zeros((2, len(times)), dtype=np.bool_)
    has_pods = pods > 0
    starts = (np.cumsum(pods) - pods)[has_pods]
    for feature in features:
        sums = np.zeros(len(times))
        if len(starts):
            sums[has_pods] = np.add.reduceat(numbers(shard.pods, feature), starts)
        label = _at(times, shard.node_rows, f"node_curr_{feature.removeprefix('curr_')}")
        missing |= ~np.isfinite(sums)
        incomplete |= np.abs(sums - label) > 0.5 + 1e-6 * np.abs(label)
    return missing, incomplete


def _at(times: Times, rows: pa.Table, column: str) -> npt.NDArray[np.float64]:
    """A column of the node's rows at each interval, (k,); NaN where there is none."""
    values = np.full(len(times), np.nan)
    values[np.searchsorted(times, times_of(rows))] = numbers(rows, column)
    return values
