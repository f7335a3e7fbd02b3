"""Node intervals in memory, with the truth of each pod where it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from kepler_train.contract.features import ARCHITECTURE, WORKLOAD_FEATURES, FeatureGroup
from kepler_train.contract.parts import IntervalBatch

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Node intervals to fit to or to judge on; a batch is one stretch of time of one node."""

    batches: tuple[IntervalBatch, ...]
    truth: tuple[Floats, ...] = ()
    """True mJ of each pod row, (m,) per batch; empty where nobody knows."""
    idle_millijoules: dict[str, float] = field(default_factory=dict)
    """Node to its true idle energy per interval, where it is known."""

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.batches)

    @property
    def pod_rows(self) -> int:
        """How many pod rows there are."""
        return sum(len(batch.pods) for batch in self.batches)

    @property
    def pods(self) -> Floats:
        """All pod rows, (m, n)."""
        return np.concatenate([batch.pods for batch in self.batches])

    @property
    def sums(self) -> Floats:
        """Features summed over the pods of each node interval, (k, n)."""
        return np.concatenate([batch.sum_over_pods(batch.pods) for batch in self.batches])

    @property
    def energy_millijoules(self) -> Floats:
        """What was measured of each node interval, (k,)."""
        return np.concatenate([batch.energy_millijoules for batch in self.batches])

    @property
    def nodes(self) -> npt.NDArray[np.str_]:
        """The node of each interval, (k,)."""
        return np.concatenate([np.full(len(batch), batch.node) for batch in self.batches])

    def of_group(self, group: FeatureGroup) -> Rows:
        """The same rows with the features of one group."""
        columns = [WORKLOAD_FEATURES.index(feature) for feature in group.features if feature != ARCHITECTURE]
        batches = (
            replace(batch, features=group.features, pods=np.ascontiguousarray(batch.pods[:, columns]))
            for batch in self.batches
        )
        return replace(self, batches=tuple(batches))

    def only(self, masks: list[Mask]) -> Rows:
        """Those intervals, with their pods, that each batch's mask (k,) chooses."""
        kept = [index for index, mask in enumerate(masks) if mask.any()]
        return Rows(
            batches=tuple(_chosen(self.batches[index], masks[index]) for index in kept),
            truth=tuple(self.truth[index][_of_pods(self.batches[index], masks[index])] for index in kept if self.truth),
            idle_millijoules=self.idle_millijoules,
        )

    def per_interval(self, predict: Callable[[IntervalBatch], Floats]) -> Floats:
        """Join what is predicted for each batch."""
        return np.concatenate([predict(batch) for batch in self.batches])


def _of_pods(batch: IntervalBatch, mask: Mask) -> Mask:
    return np.repeat(mask, np.diff(batch.starts))


def _chosen(batch: IntervalBatch, mask: Mask) -> IntervalBatch:
    counts = np.diff(batch.starts)[mask]
    return replace(
        batch,
        pods=batch.pods[_of_pods(batch, mask)],
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        energy_millijoules=batch.energy_millijoules[mask],
        timestamp_milliseconds=batch.timestamp_milliseconds[mask],
        block_start_seconds=batch.block_start_seconds[mask],
    )
