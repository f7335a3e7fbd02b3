"""Shards on disk: how a window is cut into them, and how one is written: whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import Self

from kepler_train.contract.tables import SCHEMAS, SET_APART
from kepler_train.contract.window import Span, shard_name

STRETCH_MILLISECONDS = 2 * 3600 * 1000
"""The most time in a shard; as long as a block of Prometheus' head."""

ROW_GROUP_ROWS = 50_000
_FEWEST_ROWS = 25_000
"""Rows wait until there are so many for a row group."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def milliseconds(time: datetime) -> int:
    """Unix time in ms."""
    return (time - _EPOCH) // timedelta(milliseconds=1)


def moment(unix_milliseconds: int) -> datetime:
    """The time, in UTC, of Unix ms."""
    return _EPOCH + timedelta(milliseconds=unix_milliseconds)


@dataclass(frozen=True, order=True)
class Shard:
    """One node's stretch of time, `start_ms` < t <= `end_ms`."""

    node: str
    start_ms: int
    end_ms: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return shard_name(self.node, moment(self.start_ms))


def stretches(span: Span) -> Iterator[tuple[int, int]]:
    """Cut a span into stretches, counted from its start so that a short window is not cut in two."""
    end = milliseconds(span.end)
    for start in range(milliseconds(span.start), end, STRETCH_MILLISECONDS):
        yield start, min(start + STRETCH_MILLISECONDS, end)


class ShardWriter:
    """Writes one shard's tables into a folder that takes its final name only when all is written.

    As a context manager: leaving it by an error leaves nothing behind. Rows come in the order of time, table by table;
    what was set apart is kept in the order in which it comes, so table by table too.
    """

    def __init__(self, final: Path, scratch: Path) -> None:
        self._final = final
        self._folder = scratch / final.name
        self._waiting: dict[str, list[pa.Table]] = {table: [] for table in SCHEMAS}
        self.samples = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._writers = {table: _writer(self._folder / f"{table}.parquet", schema) for table, schema in SCHEMAS.items()}
        return self

    def add(self, table: str, rows: pa.Table, apart: pa.Table) -> None:
        """Add rows to a table, and what was set apart from it."""
        self.samples += rows.num_rows + apart.num_rows
        self._waiting[table].append(rows)
        self._waiting[SET_APART].append(apart)
        for waiting in (table, SET_APART):
            if sum(part.num_rows for part in self._waiting[waiting]) >= _FEWEST_ROWS:
                self._write(waiting)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for table in SCHEMAS:
                    self._write(table)
        finally:
            for writer in self._writers.values():
                writer.close()
        if error is None and self.samples:
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._folder.rename(self._final)
        else:
            shutil.rmtree(self._folder)

    def _write(self, table: str) -> None:
        if not self._waiting[table]:
            return
        rows = pa.concat_tables(self._waiting[table]).unify_dictionaries()
        self._waiting[table].clear()
        if rows.num_rows:
            self._writers[table].write_table(rows, row_group_size=ROW_GROUP_ROWS)


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Names are worth a dictionary; measured numbers hardly repeat, and pack better and faster by bytes of a kind."""
    names = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    numbers = {field.name: "BYTE_STREAM_SPLIT" for field in schema if pa.types.is_floating(field.type)}
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=names, column_encoding=numbers)
