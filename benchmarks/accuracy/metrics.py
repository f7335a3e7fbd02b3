"""Errors of sums and of splits, in the units in which they are shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from benchmarks.accuracy.peers import MILLIJOULES_PER_WATT, Fit
from benchmarks.accuracy.rows import Floats, Rows


@dataclass(frozen=True)
class Judged:
    """Held-out node intervals with what was measured and predicted, (k,) each, over all folds."""

    measured_millijoules: Floats
    predicted_millijoules: Floats
    blocks: Floats
    """What is paired in comparisons: the block of time of each interval."""


@dataclass(frozen=True)
class SumErrors:
    """How far Σ pods + idle is from the measured node."""

    mape_percent: float
    busy_mape_percent: float
    """Over intervals above the middle between least and most energy."""
    bias_percent: float
    mae_watts: float


def judge(fit: Fit, held_out: Rows) -> Judged:
    """Predict held-out node intervals."""
    blocks = np.concatenate([batch.block_start_seconds for batch in held_out.batches])
    return Judged(held_out.energy_millijoules, held_out.per_interval(fit.node_energy), blocks.astype(np.float64))


def pooled(folds: list[Judged]) -> Judged:
    """All folds as one."""
    return Judged(
        np.concatenate([fold.measured_millijoules for fold in folds]),
        np.concatenate([fold.predicted_millijoules for fold in folds]),
        np.concatenate([fold.blocks for fold in folds]),
    )


def sum_errors(judged: Judged) -> SumErrors:
    """Errors over all intervals that were held out in any fold."""
    measured, error = judged.measured_millijoules, judged.predicted_millijoules - judged.measured_millijoules
    relative = 100 * np.abs(error) / measured
    busy = measured >= (measured.min() + measured.max()) / 2
    return SumErrors(
        mape_percent=float(relative.mean()),
        busy_mape_percent=float(relative[busy].mean()),
        bias_percent=100 * float(error.sum() / measured.sum()),
        mae_watts=float(np.abs(error).mean()) / MILLIJOULES_PER_WATT,
    )


def better_than(candidate: Judged, other: Judged) -> tuple[float, float]:
    """By how many points the candidate's MAPE is smaller, and half the width of its 95 % interval, over blocks."""
    measured = candidate.measured_millijoules
    gain = (
        100
        * (np.abs(other.predicted_millijoules - measured) - np.abs(candidate.predicted_millijoules - measured))
        / measured
    )
    _, block = np.unique(candidate.blocks, return_inverse=True)
    surplus = np.bincount(block, gain - gain.mean())
    blocks = len(surplus)
    # Intervals of a block are no independent witnesses: the sums of blocks are.
    deviation = np.sqrt(blocks / max(blocks - 1, 1) * (surplus**2).sum()) / len(gain)
    return float(gain.mean()), 1.96 * float(deviation)


def split_error(fit: Fit, rows: Rows, chosen: list[np.ndarray] | None = None) -> float:
    """Energy-weighted error per pod in percent, 100 · Σ|f − p| / Σp, over all pod rows or those chosen per batch."""
    assert fit.pods is not None
    wrong, total = 0.0, 0.0
    for index, (batch, truth) in enumerate(zip(rows.batches, rows.truth, strict=True)):
        error = np.abs(fit.pods(batch) - truth)
        mask = chosen[index] if chosen is not None else np.ones(len(truth), dtype=np.bool_)
        wrong += float(error[mask].sum())
        total += float(truth[mask].sum())
    return 100 * wrong / total


def idle_error(fit: Fit, rows: Rows) -> float:
    """Mean over nodes of how far the fitted idle energy is from the true one, in percent."""
    errors = [abs(fit.idle_millijoules[node] / truth - 1) for node, truth in rows.idle_millijoules.items()]
    return 100 * float(np.mean(errors))
