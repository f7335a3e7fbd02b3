"""Recordings of a real Kepler as rows, and two ways to hold some of them out, each rotated over all rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from benchmarks.accuracy.rows import Mask, Rows

from kepler_train.assemble.intervals import judge
from kepler_train.assemble.shard import Shard, numeric_features, read_shard, times_of
from kepler_train.assemble.survey import Survey, survey
from kepler_train.contract.features import WORKLOAD_FEATURES, FeatureGroup
from kepler_train.contract.held_out import BLOCK_SECONDS, block_starts
from kepler_train.contract.parts import IntervalBatch
from kepler_train.contract.window import INTERVAL_SECONDS, RecordingSource, Window
from kepler_train.extract.step import run as extract

FOLDS = 5
BLOCK, FIFTH = "block", "fifth"
"""Every fifth block of 60 s is held out, or one contiguous fifth of each recording."""

_NAMES = ("kepler_coremark_ondemand.json.gz", "kepler_idle.json.gz")
_STRETCH_ENDS_MILLISECONDS = 60_000
"""A longer hole in time parts two stretches."""


def folder() -> Path:
    """Where recordings are looked for."""
    return Path(os.environ.get("KEPLER_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))


def default_files() -> tuple[Path, ...]:
    """The recordings of coremark and idle; none where one is missing."""
    files = tuple(folder() / name for name in _NAMES)
    return files if all(file.is_file() for file in files) else ()


def read(files: Sequence[Path]) -> Rows:
    """Extract recordings and keep every node interval that is a whole measurement, in stretches of time."""
    with TemporaryDirectory() as scratch:
        window = Window(run_id="benchmark", source=RecordingSource(files=tuple(map(str, files))))
        extract(window, Path(scratch))
        found = survey([Path(scratch)])
        shards = [read_shard(shard, FeatureGroup.WORKLOAD_ONLY) for shard in found.shards]
    return Rows(tuple(batch for shard in shards for batch in _batches(shard, found)))


def _batches(shard: Shard, found: Survey) -> Iterator[IntervalBatch]:
    """Cut a shard's fit intervals into stretches; the project's own held-out blocks and gaps are rows like others."""
    features = numeric_features(FeatureGroup.WORKLOAD_ONLY)
    judged = judge(
        shard,
        features,
        found.packages[shard.node],
        from_packages=found.has_packages,
        interval_seconds=INTERVAL_SECONDS,
    )
    pods = np.column_stack([shard.pods.column(feature).to_numpy() for feature in features]).astype(np.float64)
    row = np.searchsorted(judged.times, times_of(shard.pods))
    count = np.bincount(row, minlength=len(judged.times))
    fit = (judged.energy_millijoules > 0) & (count > 0) & ~np.isin(judged.times, shard.lost_pod_times)
    fit[row[~np.isfinite(pods).all(axis=1)]] = False
    stretch = np.cumsum(np.diff(judged.times, prepend=judged.times[0]) > _STRETCH_ENDS_MILLISECONDS)
    for number in range(stretch[-1] + 1):
        chosen = fit & (stretch == number)
        yield IntervalBatch(
            node=shard.node,
            cpu_architecture=found.architectures[shard.node],
            features=WORKLOAD_FEATURES,
            pods=pods[chosen[row]],
            starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(count[chosen])]),
            energy_millijoules=judged.energy_millijoules[chosen],
            timestamp_milliseconds=judged.times[chosen],
            block_start_seconds=block_starts(judged.times[chosen]),
        )


def folds(rows: Rows, way: str) -> Iterator[tuple[Rows, Rows]]:
    """Go through training rows and held-out rows of each fold; every interval is held out once.

    One interval on each side of what is held out is not trained on, since neighbours share what crosses the edge.
    """
    for fold in range(FOLDS):
        held_out = [_fold_of(batch, way) == fold for batch in rows.batches]
        training = [~_with_neighbours(mask) for mask in held_out]
        yield rows.only(training), rows.only(held_out)


def _fold_of(batch: IntervalBatch, way: str) -> npt.NDArray[np.int64]:
    if way == BLOCK:
        number: npt.NDArray[np.int64] = batch.block_start_seconds // BLOCK_SECONDS % FOLDS
        return number
    return np.arange(len(batch)) * FOLDS // max(len(batch), 1)


def _with_neighbours(mask: Mask) -> Mask:
    return np.convolve(mask, np.ones(3), mode="full")[1:-1] > 0
