"""What a trace says for a plot: errors per node, power over the held-out time, residuals; bounded whatever its length.

A trace holds a row per node and held-out interval; of very many intervals it holds an even choice. Held-out time comes
in blocks with time that was trained on in between, so a time line is cut into *runs* of neighbouring blocks, laid side
by side with a gap between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kepler_train.contract.held_out import BLOCK_SECONDS

Floats = npt.NDArray[np.float64]

MEASURED, CANDIDATE, CHAMPION = "measured_millijoules", "candidate_millijoules", "champion_millijoules"

_MOST_POINTS = 480
_MOST_GAPS = 40
_GAP_SHARE = 0.2
_GAP_WIDTH = 0.025
_RESIDUAL_CELLS = (56, 28)


@dataclass(frozen=True)
class NodeFit:
    """How well one node's held-out intervals are met; every interval counts the same."""

    node: str
    node_intervals: int
    error_percent: float
    bias_percent: float
    lowest_millijoules: float
    """The least that was measured."""


@dataclass(frozen=True)
class TimeLine:
    """One node's power over the held-out time; all arrays are (k,), `positions` in 0..1 from left to right."""

    node: str
    positions: Floats
    runs: npt.NDArray[np.int64]
    """Which run of neighbouring blocks each point belongs to: a line must not cross from one to the next."""
    power_watts: dict[str, Floats]
    """Trace column to watts; NaN where there is none."""
    gaps: tuple[tuple[float, float], ...]
    """Left and right end of each gap that is drawn; none where runs are too many to draw gaps."""
    ticks: tuple[tuple[float, datetime], ...]
    rows_per_point: float
    """How many of the trace's rows one point is the mean of."""


@dataclass(frozen=True)
class Residuals:
    """Predicted minus measured against measured power, gathered in cells of a grid; all arrays are (k,)."""

    measured_watts: Floats
    residual_watts: Floats
    counts: npt.NDArray[np.int64]


def node_fits(trace: Path, column: str) -> tuple[NodeFit, ...]:
    """Go through a trace once and tell for each node how far `column` is from what was measured, by node name."""
    parts = [_sums(batch, column) for batch in _batches(trace, column)]
    if not parts:
        return ()
    table = pa.concat_tables(parts)
    sums = table.group_by("node").aggregate(
        [("count", "sum"), ("error", "sum"), ("predicted", "sum"), ("measured", "sum"), ("lowest", "min")]
    )
    return tuple(
        NodeFit(
            node=row["node"],
            node_intervals=row["count_sum"],
            error_percent=100 * row["error_sum"] / row["count_sum"],
            bias_percent=100 * (row["predicted_sum"] / row["measured_sum"] - 1),
            lowest_millijoules=row["lowest_min"],
        )
        for row in sums.sort_by("node").to_pylist()
    )


def _sums(batch: pa.RecordBatch, column: str) -> pa.Table:
    measured, predicted = batch.column(MEASURED), batch.column(column)
    table = pa.table(
        {
            "node": batch.column("node").cast(pa.string()),
            "measured": measured,
            "predicted": predicted,
            "error": pc.divide(pc.abs(pc.subtract(predicted, measured)), measured),
        }
    )
    sums = table.group_by("node").aggregate(
        [("error", "count"), ("error", "sum"), ("predicted", "sum"), ("measured", "sum"), ("measured", "min")]
    )
    return sums.rename_columns(
        [{"error_count": "count", "measured_min": "lowest"}.get(n, n.removesuffix("_sum")) for n in sums.column_names]
    )


def time_line(trace: Path, node: str, interval_seconds: float) -> TimeLine:
    """Read one node's rows of a trace and lay its runs of held-out blocks side by side, thinned to what can be seen."""
    columns = ["timestamp", "block_start_seconds", MEASURED, CANDIDATE, CHAMPION]
    table = pq.read_table(trace, columns=columns, filters=[("node", "==", node)]).sort_by("timestamp")
    seconds = table.column("timestamp").cast(pa.int64()).to_numpy() / 1000
    blocks = table.column("block_start_seconds").to_numpy()
    runs = np.concatenate([[0], np.cumsum(np.diff(blocks) > BLOCK_SECONDS)])
    positions, gaps = _lay_out(seconds, runs, interval_seconds)
    watts = {
        column: table.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False) / (1000 * interval_seconds)
        for column in (MEASURED, CANDIDATE, CHAMPION)
    }
    group, size = _points(positions, runs)
    _, first = np.unique(group, return_index=True)
    return TimeLine(
        node=node,
        positions=np.bincount(group, positions) / size,
        runs=runs[first],
        power_watts={column: np.bincount(group, values) / size for column, values in watts.items()},
        gaps=gaps,
        ticks=_ticks(positions, seconds),
        rows_per_point=len(seconds) / len(size),
    )


def _lay_out(
    seconds: Floats, runs: npt.NDArray[np.int64], interval_seconds: float
) -> tuple[Floats, tuple[tuple[float, float], ...]]:
    """Place each time in 0..1: to scale within a run, with gaps of one width between runs (none if they are many)."""
    first = np.flatnonzero(np.diff(runs, prepend=-1))
    last = np.append(first[1:], len(runs)) - 1
    lengths = seconds[last] - seconds[first] + interval_seconds
    gap_count = len(first) - 1
    gap_width = min(_GAP_WIDTH, _GAP_SHARE / gap_count) if 0 < gap_count <= _MOST_GAPS else 0.0
    scale = (1 - gap_width * gap_count) / lengths.sum()
    left = np.concatenate([[0.0], np.cumsum(lengths * scale + gap_width)])
    positions = left[runs] + (seconds - seconds[first][runs] + interval_seconds / 2) * scale
    gaps = tuple((float(right - gap_width), float(right)) for right in left[1:-1]) if gap_width else ()
    return positions, gaps


def _points(positions: Floats, runs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the drawn point that each row goes into, and count the rows of each point."""
    if len(positions) <= _MOST_POINTS:
        return np.arange(len(positions)), np.ones(len(positions), dtype=np.int64)
    cell = (positions * _MOST_POINTS).astype(np.int64)
    few_runs = runs[-1] <= _MOST_GAPS
    new = (np.diff(cell, prepend=cell[0]) > 0) | ((np.diff(runs, prepend=runs[0]) > 0) & few_runs)
    group = np.cumsum(new)
    return group, np.bincount(group)


def _ticks(positions: Floats, seconds: Floats) -> tuple[tuple[float, datetime], ...]:
    rows = [int(np.argmin(np.abs(positions - at))) for at in (0, 1 / 3, 2 / 3, 1)]
    return tuple(
        (float(positions[row]), datetime.fromtimestamp(float(seconds[row]), tz=timezone.utc))
        for row in sorted(set(rows))
    )


def residuals(trace: Path, column: str, interval_seconds: float) -> Residuals:
    """Go through a trace twice: for the extent, then to count rows in the cells of a grid over it."""
    watts_per_millijoule = 1 / (1000 * interval_seconds)
    extents = [(m.min(), m.max(), r.min(), r.max()) for m, r in _measured_and_residual(trace, column)]
    if not extents:
        return Residuals(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))
    low_m, _, low_r, _ = np.min(extents, axis=0)
    _, high_m, _, high_r = np.max(extents, axis=0)
    edges = (np.linspace(low_m, high_m, _RESIDUAL_CELLS[0] + 1), np.linspace(low_r, high_r, _RESIDUAL_CELLS[1] + 1))
    counts = np.zeros(_RESIDUAL_CELLS)
    for measured, residual in _measured_and_residual(trace, column):
        counts += np.histogram2d(measured, residual, bins=edges)[0]
    across, along = np.nonzero(counts)
    return Residuals(
        measured_watts=(edges[0][across] + edges[0][across + 1]) / 2 * watts_per_millijoule,
        residual_watts=(edges[1][along] + edges[1][along + 1]) / 2 * watts_per_millijoule,
        counts=counts[across, along].astype(np.int64),
    )


def _measured_and_residual(trace: Path, column: str) -> Iterator[tuple[Floats, Floats]]:
    for batch in _batches(trace, column):
        measured = batch.column(MEASURED).to_numpy()
        yield measured, batch.column(column).to_numpy() - measured


def _batches(trace: Path, column: str) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(trace) as file:
        for batch in file.iter_batches(columns=["node", MEASURED, column]):
            kept = batch.filter(pc.and_(pc.is_valid(batch.column(column)), pc.greater(batch.column(MEASURED), 0)))
            if len(kept):
                yield kept
