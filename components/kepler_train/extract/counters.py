"""Differences of a counter over one interval, and the reasons why there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEAD_MILLISECONDS = 60_000
"""How far back a predecessor is looked for; each answer begins this much earlier, so that none depends on another."""

_ELAPSED_TOLERANCE = 0.5
"""Of an interval: scrapes are late or early, but not by more."""

_RAPL_RANGES_MILLIJOULES = (262_143_328.85, 65_712_999.61)
"""`max_energy_range_uj` of Linux' powercap for energy units of 61 and 15.3 µJ: where such a counter starts again."""
_NEAR_THE_END = 0.98


@dataclass(frozen=True)
class Steps:
    """From each sample to the one before it; rows as in the samples given."""

    first: npt.NDArray[np.bool_]
    """No predecessor within LEAD_MILLISECONDS."""
    gap: npt.NDArray[np.bool_]
    """More or less than one interval after the predecessor."""
    wrapped: npt.NDArray[np.bool_]
    """A counter ran to its end and started again."""
    reset: npt.NDArray[np.bool_]
    """A counter went back from anywhere else: the exporter or the machine restarted."""
    elapsed_seconds: npt.NDArray[np.float64]
    differences: npt.NDArray[np.float64]
    """(m, c), over the interval that ends at the sample; NaN where there is none."""


def steps(
    owner: npt.NDArray[np.int64],
    timestamp_milliseconds: npt.NDArray[np.int64],
    counters: npt.NDArray[np.float64],
    interval_seconds: float,
) -> Steps:
    """Take differences of counters, (m, c), of several owners; rows ordered by owner, then by time.

    A NaN counter is one that the exporter does not write: its difference is NaN, and no fault.
    """
    first = np.ones(len(owner), np.bool_)
    elapsed = np.full(len(owner), np.nan)
    differences = np.full(counters.shape, np.nan)
    elapsed[1:] = np.diff(timestamp_milliseconds) / 1000
    first[1:] = (owner[1:] != owner[:-1]) | (elapsed[1:] > LEAD_MILLISECONDS / 1000)
    differences[1:] = np.diff(counters, axis=0)
    gap = ~first & (np.abs(elapsed - interval_seconds) > _ELAPSED_TOLERANCE * interval_seconds)
    back = ~(first | gap)[:, np.newaxis] & (differences < 0)
    before = np.vstack([counters[:1], counters[:-1]])
    near_the_end = np.zeros(counters.shape, np.bool_)
    for end in _RAPL_RANGES_MILLIJOULES:
        near_the_end |= (before >= _NEAR_THE_END * end) & (before <= end)
    # Counters of one sample reset together, but each wraps by itself.
    reset: npt.NDArray[np.bool_] = np.any(back & ~near_the_end, axis=1)
    wrapped: npt.NDArray[np.bool_] = np.any(back, axis=1) & ~reset
    differences[first | gap | reset | wrapped] = np.nan
    return Steps(first, gap, wrapped, reset, elapsed, differences)
