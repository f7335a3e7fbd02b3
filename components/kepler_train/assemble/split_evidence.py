"""How well a training part tells workloads apart: whether they vary independently of each other, and of idle."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kepler_train.assemble.shard import numbers, numeric_features, read_table, times_of
from kepler_train.assemble.workloads import workload_of
from kepler_train.contract.evidence import SplitEvidence
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.tables import NODE_INTERVALS, POD_STAT
from kepler_train.contract.window import shard_node, shards_of

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

WORKLOADS = 7
"""So many are told apart, those with the most activity; the others count as one."""
TOGETHER = 0.75
"""Workloads whose activities correlate more than so on their nodes move together."""
STILL = 0.15
"""A workload whose activity has a smaller standard deviation than this share of its mean hardly varies."""
LARGEST_CONDITION = 1e6
_MOST_SETS, _MOST_NAMES = 3, 5


@dataclass
class _Columns:
    """Sums over node intervals of the activities of some workloads, in columns, the others' in the last one."""

    names: list[str]
    relative: Array = field(init=False)
    """Σ xxᵀ of activities relative to the interval's energy."""
    within: Array = field(init=False)
    """Σ (x − x̄)(x − x̄)ᵀ, x̄ the mean of a shard's intervals."""
    total: Array = field(init=False)
    intervals: int = 0

    def __post_init__(self) -> None:
        columns = len(self.names) + 1
        self.relative, self.within = np.zeros((2, columns, columns))
        self.total = np.zeros(columns)

    def add(self, activity: Array, energy: Array) -> None:
        """Add intervals: activities (k, columns), energies (k,)."""
        relative, centred = activity / energy[:, None], activity - activity.mean(axis=0)
        self.relative += relative.T @ relative
        self.within += centred.T @ centred
        self.total += activity.sum(axis=0)
        self.intervals += len(energy)

    def condition(self) -> float:
        """Condition number of the relative activities, each column brought to one length."""
        length = np.sqrt(np.diag(self.relative))
        used = length > 0
        if used.sum() < 2:
            return 1.0
        values = np.linalg.eigvalsh(self.relative[np.ix_(used, used)] / np.outer(length[used], length[used]))
        return min(float(np.sqrt(values[-1] / max(values[0], LARGEST_CONDITION**-2))), LARGEST_CONDITION)


@dataclass(frozen=True)
class _Activity:
    """A shard's pods: (m,) each, and its node intervals, (k,)."""

    node: str
    interval: Integers
    workload: list[str]
    """The names that `code` counts in."""
    code: Integers
    activity: Array
    energy: Array

    def by_workload(self, names: Sequence[str]) -> Array:
        """Activities of workloads, (k, len(names) + 1), the last column for all others."""
        column = {name: index for index, name in enumerate(names)}
        columns = np.array([column.get(name, len(names)) for name in self.workload], dtype=np.int64)
        shape = (len(self.energy), len(names) + 1)
        cells = self.interval * shape[1] + columns[self.code]
        return np.bincount(cells, self.activity, shape[0] * shape[1]).reshape(shape).astype(np.float64, copy=False)


def split_evidence(part: Path, group: FeatureGroup) -> SplitEvidence | None:
    """Go through an assembled training part; None where nodes' energy follows no feature, or none has two workloads."""
    feature, correlation = _telling_feature(part, numeric_features(group))
    if correlation <= 0:
        return None
    of_node: dict[str, Counter[str]] = defaultdict(Counter)
    for one in _activities(part, feature):
        sums = np.bincount(one.code, one.activity, len(one.workload))
        of_node[one.node].update(dict(zip(one.workload, sums.tolist(), strict=True)))
    of_all: Counter[str] = Counter()
    for activity in of_node.values():
        of_all.update(activity)
    if sum(value > 0 for value in of_all.values()) < 2:
        return None
    together, apart = _Columns(_most_active(of_all)), {node: _Columns(_most_active(of_node[node])) for node in of_node}
    for one in _activities(part, feature):
        for columns in (together, apart[one.node]):
            columns.add(one.by_workload(columns.names), one.energy)
    return SplitEvidence(
        feature=feature,
        correlation=correlation,
        condition=together.condition(),
        condition_of_node={node: columns.condition() for node, columns in apart.items()},
        together=_moving_together(together),
        still=_still(together),
    )


def _most_active(activity: Mapping[str, float]) -> list[str]:
    return [name for name, value in Counter(activity).most_common(WORKLOADS) if value > 0]


def _telling_feature(part: Path, features: Sequence[str]) -> tuple[str, float]:
    """The feature whose sum over pods has the greatest correlation with energy, within nodes, and this."""
    columns = [f"node_curr_{feature.removeprefix('curr_')}" for feature in features]
    width = len(features) + 2
    of_node: dict[str, Array] = defaultdict(lambda: np.zeros((width, width)))
    for shard in shards_of(part):
        rows = read_table(shard, NODE_INTERVALS, [*columns, "node_energy_millijoules"])
        values = np.column_stack([numbers(rows, column) for column in rows.column_names])
        values = values[np.isfinite(values).all(axis=1)]
        counted = np.column_stack([values, np.ones(len(values))])
        of_node[shard_node(shard)] += counted.T @ counted
    products = np.zeros((width - 1, width - 1))
    for sums in of_node.values():
        products += sums[:-1, :-1] - np.outer(sums[:-1, -1], sums[-1, :-1]) / max(sums[-1, -1], 1.0)
    spread = np.sqrt(np.maximum(np.diag(products), 0.0))
    scale = spread[:-1] * spread[-1]
    correlation = np.divide(products[:-1, -1], scale, out=np.zeros(len(features)), where=scale > 0)
    best = int(correlation.argmax())
    return features[best], float(correlation[best])


def _activities(part: Path, feature: str) -> Iterator[_Activity]:
    for shard in shards_of(part):
        intervals = read_table(shard, NODE_INTERVALS, ["timestamp", "node_energy_millijoules"])
        pods = read_table(shard, POD_STAT, ["timestamp", "pod_namespace", "pod_name", feature])
        workloads, code = _workloads(pods)
        yield _Activity(
            node=shard_node(shard),
            interval=np.searchsorted(times_of(intervals), times_of(pods)),
            workload=workloads,
            code=code,
            activity=numbers(pods, feature),
            energy=numbers(intervals, "node_energy_millijoules"),
        )


def _workloads(pods: pa.Table) -> tuple[list[str], Integers]:
    """The names of workloads, and for each pod row the number of its own."""
    names = pc.binary_join_element_wise(
        *(pods.column(column).cast(pa.string()).fill_null("") for column in ("pod_namespace", "pod_name")), "\n"
    )
    encoded = pc.dictionary_encode(names.combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    distinct = [workload_of(*name.split("\n", 1)) for name in encoded.dictionary.to_pylist()]
    return distinct, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _moving_together(columns: _Columns) -> tuple[tuple[str, ...], ...]:
    """Sets of workloads that correlate within shards, directly or by way of others; a few, with a few names each."""
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 (costs as much as all else that is imported)

    spread = np.sqrt(np.diag(columns.within))
    scale = np.outer(spread, spread)
    linked = np.divide(columns.within, scale, out=np.zeros_like(scale), where=scale > 0)[:-1, :-1] > TOGETHER
    still = np.isin(columns.names, _still(columns))
    _, labels = connected_components(linked & ~still & ~still[:, None], directed=False)
    sets = [np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist())]
    several = [tuple(columns.names[index] for index in members[:_MOST_NAMES]) for members in sets if len(members) > 1]
    return tuple(several[:_MOST_SETS])


def _still(columns: _Columns) -> tuple[str, ...]:
    mean = columns.total[:-1] / columns.intervals
    deviation = np.sqrt(np.diag(columns.within)[:-1] / columns.intervals)
    return tuple(
        name for name, most, varies in zip(columns.names, mean, deviation, strict=True) if varies < STILL * most
    )
