"""Two Prometheus servers with the same simulated cluster: one from blocks, one as if it had scraped."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from benchmarks.extraction.ways import METRICS
from tests.prometheus_server import STALE_MARKER, PrometheusServer, Series, recorded_series, write_openmetrics

INTERVAL_SECONDS = 3.0
SERIES_AT_ONCE = 2000


def without_frequency(recording: Path) -> None:
    """Leave what is measured in a recording: metrics of which nearly every sample is a series of its own."""
    content = json.loads(gzip.decompress(recording.read_bytes()))
    kept = {metric: content[metric] for metric in METRICS}
    recording.write_bytes(gzip.compress(json.dumps(kept, separators=(",", ":")).encode(), compresslevel=1))


def series_of(recordings: Sequence[Path], until: datetime | None = None) -> Iterator[Series]:
    """Go through the recorded series, each once for every file, and their samples up to a time."""
    for file in recordings:
        merged: dict[tuple[tuple[str, str], ...], dict[float, float]] = {}
        for labels, samples in recorded_series(file):
            kept = {at: value for at, value in samples if until is None or at <= until.timestamp()}
            if kept:
                merged.setdefault(tuple(labels.items()), {}).update(kept)
        for pairs, by_time in merged.items():
            yield dict(pairs), sorted(by_time.items())


def load_blocks(server: PrometheusServer, recordings: Sequence[Path], text: Path) -> None:
    """Make blocks of recordings: without staleness markers."""
    write_openmetrics(series_of(recordings), text)
    server.load_openmetrics(text)
    text.unlink()


def write_live(server: PrometheusServer, recordings: Sequence[Path], until: datetime) -> None:
    """Write recordings as a scraping server has them: a series that is not in the next scrape is marked as ended."""
    series = (
        with_markers(one) for one in series_of(sorted(recordings, key=lambda file: file.name.split("@")[1]), until)
    )
    while batch := list(islice(series, SERIES_AT_ONCE)):
        server.remote_write(batch)


def with_markers(series: Series) -> Series:
    """Add a staleness marker after each sample that the next scrape does not follow."""
    labels, samples = series
    times = {moment for moment, _ in samples}
    marked: list[tuple[float, float]] = []
    for moment, value in samples:
        marked.append((moment, float(value)))
        if moment + INTERVAL_SECONDS not in times:
            marked.append((moment + INTERVAL_SECONDS, STALE_MARKER))
    return labels, marked
