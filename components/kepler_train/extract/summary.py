"""The sum of what the shards of a window hold, read from the shards, so that a resumed extraction counts the same."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from kepler_train.contract.errors import NoData
from kepler_train.contract.tables import METRIC_OF_TABLE, NODE_STAT, PACKAGE, POD_STAT, SCHEMAS, SET_APART
from kepler_train.contract.window import RecordingSource, Span, Window, WindowSummary, shard_node, shards_of
from kepler_train.extract.shards import moment


def summarise(window: Window, folder: Path, spans: tuple[Span, ...]) -> WindowSummary:
    """Count rows and samples set apart, and cut each span to what was found in it."""
    rows = dict.fromkeys((table for table in SCHEMAS if table != SET_APART), 0)
    apart: Counter[tuple[str, str]] = Counter()
    nodes: dict[str, None] = {}
    extents: list[tuple[datetime, datetime]] = []
    for shard in shards_of(folder):
        for table in rows:
            metadata = pq.read_metadata(shard / f"{table}.parquet")
            rows[table] += metadata.num_rows
            if metadata.num_rows and table in (POD_STAT, NODE_STAT):
                nodes[shard_node(shard)] = None
                extents.append(_extent(metadata))
        with pq.ParquetFile(shard / f"{SET_APART}.parquet") as file:
            columns = file.read(["table", "reason"])
        apart.update(zip(columns["table"].to_pylist(), columns["reason"].to_pylist(), strict=True))
    set_apart: dict[str, dict[str, int]] = {}
    for (table, reason), count in sorted(apart.items()):
        set_apart.setdefault(table, {})[reason] = count
    return WindowSummary(
        window=window,
        spans=tuple(_found(span, extents, window.interval_seconds) for span in spans if _within(span, extents)),
        rows=rows,
        set_apart=set_apart,
        missing_metrics=tuple(METRIC_OF_TABLE[table] for table in rows if not rows[table] and table not in set_apart),
        nodes=tuple(sorted(nodes)),
    )


def _extent(metadata: pq.FileMetaData) -> tuple[datetime, datetime]:
    # The timestamp is every table's first column; rows are in the order of time.
    first, last = metadata.row_group(0), metadata.row_group(metadata.num_row_groups - 1)
    return moment(first.column(0).statistics.min_raw), moment(last.column(0).statistics.max_raw)


def _within(span: Span, extents: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    return [(first, last) for first, last in extents if span.start < last and first <= span.end]


def _found(span: Span, extents: list[tuple[datetime, datetime]], interval_seconds: float) -> Span:
    within = _within(span, extents)
    first, last = min(first for first, _ in within), max(last for _, last in within)
    return Span(max(span.start, first - timedelta(seconds=interval_seconds)), min(span.end, last))


def refuse_empty(summary: WindowSummary) -> None:
    """Raise NoData, saying which metric is missing where, if there are no pods or no energy to train on."""
    window, rows, set_apart = summary.window, summary.rows, summary.set_apart
    for tables in ((POD_STAT,), (NODE_STAT, PACKAGE)):
        if any(rows[table] for table in tables):
            continue
        metrics = " or ".join(METRIC_OF_TABLE[table] for table in tables)
        lost = [f"{count} {reason}" for table in tables for reason, count in set_apart.get(table, {}).items()]
        if lost:
            raise NoData(
                f"no usable samples of {metrics} in {_named(window)}: set apart were {', '.join(lost)}; "
                "is this exporter healthy?"
            )
        remedy = (
            "does the recording hold this metric?"
            if isinstance(window.source, RecordingSource)
            else "is Kepler scraped by this Prometheus?"
        )
        raise NoData(f"no samples of {metrics} in {_named(window)}; {remedy}")


def _named(window: Window) -> str:
    spans = ", ".join(_times(span) for span in window.spans)
    if not isinstance(window.source, RecordingSource):
        return spans
    files = ", ".join(window.source.files)
    return f"{spans} of {files}" if spans else files


def _times(span: Span) -> str:
    clock = "%H:%M:%S" if span.start.second or span.end.second else "%H:%M"
    day = "" if span.start.date() == span.end.date() else "%Y-%m-%d "
    return f"{span.start:%Y-%m-%d {clock}}–{span.end:{day}{clock}} UTC"
