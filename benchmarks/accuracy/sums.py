"""Part one: Σ pods + idle against a measured node, on recordings of a real Kepler."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import islice

from benchmarks.accuracy import peers, recordings, targets
from benchmarks.accuracy.extent import Extent
from benchmarks.accuracy.metrics import Judged, better_than, judge, pooled, sum_errors
from benchmarks.accuracy.peers import Fit
from benchmarks.accuracy.rows import Rows
from benchmarks.accuracy.shipped import BASELINE, fit_shipped, judged
from benchmarks.figures import Report

from kepler_train.contract.features import FeatureGroup

log = logging.getLogger("accuracy")

GROUPS = (
    FeatureGroup.COUNTER_ONLY,
    FeatureGroup.WORKLOAD_ONLY,
    FeatureGroup.BPF_ONLY,
    FeatureGroup.CGROUP_ONLY,
    FeatureGroup.KUBELET_ONLY,
)


def measure(rows: Rows, extent: Extent, report: Report) -> None:
    """Fit peers and shipped pipelines of each group to every fold of the recordings."""
    for group in GROUPS[: extent.groups]:
        mine = rows.of_group(group)
        table = f"recordings, {group.value}: sum over pods + idle against the measured node"
        found: dict[tuple[str, str], Judged] = {}
        for name, fit in {**peers.node_level_peers(), **peers.reference_peers()}.items():
            for way in (recordings.BLOCK, recordings.FIFTH):
                found[name, way] = _held_out(mine, way, fit, extent)
                _add(report, table, name, way, found[name, way])
        for entry in judged(group):
            name = f"shipped: {entry.model_name}"
            has_target = entry.model_name != BASELINE
            for way in (recordings.BLOCK, recordings.FIFTH):
                found[name, way] = _held_out(mine, way, partial(fit_shipped, group, entry.model_name), extent)
                _add(report, table, name, way, found[name, way], with_targets=group if has_target else None)
            report.notes.append(_against_constants(group, entry.model_name, found))
        log.info("recordings: %s done", group.value)


def _held_out(rows: Rows, way: str, fit: Callable[[Rows], Fit], extent: Extent) -> Judged:
    chosen = islice(recordings.folds(rows, way), extent.folds)
    return pooled([judge(fit(training), held_out) for training, held_out in chosen])


def _add(
    report: Report, table: str, row: str, way: str, judged: Judged, *, with_targets: FeatureGroup | None = None
) -> None:
    errors = sum_errors(judged)
    mape = targets.SUM_MAPE_PERCENT[with_targets] if with_targets else None
    bias = targets.SUM_BIAS_PERCENT.get(with_targets) if with_targets else None
    report.add(table, row, f"{way}: MAPE", errors.mape_percent, at_most=mape)
    report.add(table, row, f"{way}: busy", errors.busy_mape_percent)
    report.add(table, row, f"{way}: bias", errors.bias_percent, at_most=bias)
    report.add(table, row, f"{way}: MAE W", errors.mae_watts, unit="W")


def _against_constants(group: FeatureGroup, model_name: str, found: dict[tuple[str, str], Judged]) -> str:
    """Say by how much a pipeline is better than either constant, and flag what is little better."""
    mine = found[f"shipped: {model_name}", recordings.BLOCK]
    parts, little = [], False
    for constant in (peers.CONSTANT, peers.LUCKY_CONSTANT):
        gain, noise = better_than(mine, found[constant, recordings.BLOCK])
        parts.append(f"by {gain:.1f} ± {noise:.1f} points than the {constant.removeprefix('constant per node: ')}")
        little |= gain <= max(noise, LITTLE_POINTS)
    flag = "LITTLE BETTER THAN A CONSTANT, " if little else "better "
    return f"{group.value}/{model_name}: {flag}{' and '.join(parts)}"


LITTLE_POINTS = 5.0
"""A gain over a constant that is smaller is flagged, whether or not it is more than noise."""
