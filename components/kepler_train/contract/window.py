"""A window: spans of time, resolved once to UTC, the source they are read from, and what was read, in shards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Union
from urllib.parse import quote, unquote

import msgspec

from kepler_train.contract.documents import Document

INTERVAL_SECONDS = 3.0
"""The exporter's sampling interval: every `curr_*` value and every energy is per this many seconds."""


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch of time, `start` < t <= `end`, both in UTC."""

    start: datetime
    end: datetime


class RecordingSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="recording"):
    """Files that hold answers of Prometheus (JSON, may be gzipped); the simulator writes the same."""

    files: tuple[str, ...]


class PrometheusSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="prometheus"):
    """A Prometheus; `selector` are label matchers such as `job="kepler-exporter"`. Secrets come by environment."""

    url: str
    selector: str = ""


Source = Union[RecordingSource, PrometheusSource]


class Window(Document, frozen=True, kw_only=True):
    """What `resolve` fixes: from where, which spans, under which run id. No spans: all that a recording holds."""

    run_id: str
    source: Source
    spans: tuple[Span, ...] = ()
    interval_seconds: float = INTERVAL_SECONDS


class WindowSummary(Document, frozen=True, kw_only=True):
    """What `extract` read, as `window.json` beside the shards."""

    window: Window
    spans: tuple[Span, ...]
    """The spans that samples were found in, one per asked span or per recording."""
    rows: dict[str, int]
    """Table name to number of rows kept."""
    set_apart: dict[str, dict[str, int]]
    """Table name to reason to number of samples read but set apart."""
    missing_metrics: tuple[str, ...]
    nodes: tuple[str, ...]


SUMMARY_FILE = "window.json"
SHARDS = "shards"


def shard_name(node: str, start: datetime) -> str:
    """Name the folder of one node's rows from `start` on; sorts by node, then by time, and is a safe file name."""
    return f"{quote(node, safe='')}@{start:%Y%m%dT%H%M%S.%f}Z"


def shard_node(shard: Path) -> str:
    """Name the node whose rows a shard holds; the inverse of `shard_name`."""
    return unquote(shard.name.rpartition("@")[0])


def shards_of(folder: Path) -> Iterator[Path]:
    """Go through the complete shards of a window or of an assembled part, by node and time.

    There may be none, and then, from a bucket, which keeps no empty folders, no folder of them either.
    """
    return iter(sorted(path for path in (folder / SHARDS).glob("*@*") if path.is_dir()))


def run_id_of(job_id: str, now: datetime) -> str:
    """Make a run's id: the time, and the first part of the id that the engine gave the run, or chance without one."""
    return f"{now.astimezone(timezone.utc):%Y%m%dT%H%M%SZ}-{_mark(job_id) or secrets.token_hex(2)}"


def is_of_run(run_id: str, job_id: str) -> bool:
    """Tell whether an id was made for the run that has this id in the engine."""
    mark = _mark(job_id)
    return bool(mark) and run_id.rpartition("-")[2] == mark


def _mark(job_id: str) -> str:
    """`1b9d6bcd` of the UUID 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed; kfp on one machine gives a number."""
    mark = job_id.partition("-")[0]
    return mark if mark.isascii() and mark.isalnum() else ""
