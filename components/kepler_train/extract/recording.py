"""Reads recordings: files with the answers of a Prometheus, of any size, in whatever order their series are.

Samples pass through a spool on disk, sorted by node and slices of time: a recording lists series by their labels, the
tables want them by time, and neither has to fit in memory.
"""

from __future__ import annotations

import gzip
import logging
import shutil
import zlib
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kepler_train.contract.errors import SourceError
from kepler_train.contract.window import Span
from kepler_train.extract.convert import NAMELESS_NODE, Answer, lead_of
from kepler_train.extract.decode import FORMS, NODE, Form, NotSeries, decode, join
from kepler_train.extract.pieces import CutShort, SeriesPieces
from kepler_train.extract.shards import STRETCH_MILLISECONDS, Shard, milliseconds, moment
from kepler_train.extract.sieve import names, times

_log = logging.getLogger("kepler_train")

SLICE_MILLISECONDS = STRETCH_MILLISECONDS // 12
"""What is sorted and converted at once; longer than any lead."""

SPOOL_ROWS = 100_000

_Times = npt.NDArray[np.int64]
_ALL_TIME = Span(moment(0), moment(0) + timedelta(days=365 * 1000))


class RecordingReader:
    """Answers for each shard of what the files hold of the asked spans; without spans, of all that they hold."""

    streams = 1

    def __init__(self, files: tuple[str, ...], spans: tuple[Span, ...], interval_seconds: float, scratch: Path) -> None:
        self._files = [Path(file) for file in files]
        self._spool = _Spool(spans or (_ALL_TIME,), scratch / "spool")
        self._interval = timedelta(seconds=interval_seconds)
        self._found: list[Span] = []
        self._asked = spans

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans that were asked for, else one for each recording, from an interval before its first sample."""
        return self._asked or tuple(dict.fromkeys(sorted(self._found, key=lambda span: (span.start, span.end))))

    def close(self) -> None:
        """Remove the spool."""
        self._spool.remove()

    def shards(self) -> list[Shard]:
        """Read the files into the spool, and list the shards that this makes, by time."""
        for file in self._files:
            samples, first, last = _read(file, self._spool)
            if samples:
                self._found.append(Span(moment(first) - self._interval, moment(last)))
            _log.info("extract: read %d samples from %s", samples, file.name)
        return self._spool.shards()

    def answers(self, form: Form, shard: Shard) -> Iterator[Answer]:
        """Give a metric's samples of a shard, in slices in the order of time."""
        return self._spool.answers(form, shard)


def _read(file: Path, spool: _Spool) -> tuple[int, int, int]:
    """Put a recording into the spool; gives how many samples there were, and the times of first and last in ms."""
    forms = {form.metric: form for form in FORMS}
    samples, first, last = 0, np.iinfo(np.int64).max, 0
    try:
        with _open(file) as stream:
            pieces = SeriesPieces(stream.read)
            for metric, piece in pieces:
                if metric in forms:
                    raw = decode(piece, forms[metric])
                    moments = times(raw)
                    samples += len(moments)
                    first, last = int(moments.min(initial=first)), int(moments.max(initial=last))
                    spool.add(forms[metric], raw)
            _check_whole(file, pieces.skeleton)
    except (CutShort, EOFError, zlib.error, gzip.BadGzipFile) as cause:
        raise SourceError(f"recording {file} ends in the middle or is damaged; copy or record it again") from cause
    except NotSeries as cause:
        raise SourceError(f"recording {file} holds something else than series of samples: {cause}") from cause
    except OSError as cause:
        raise SourceError(f"recording {file} cannot be read: {cause.strerror}; is the path right?") from cause
    spool.flush()
    return samples, first, last


def _open(file: Path) -> IO[bytes]:
    with file.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(file)) if packed else file.open("rb")


def _check_whole(file: Path, skeleton: bytes) -> None:
    try:
        lists = msgspec.json.decode(skeleton, type=dict[str, list[msgspec.Raw]])
    except msgspec.ValidationError as cause:
        raise SourceError(
            f"{file} is no recording: it must be an object of metric names, each with a list of series "
            f'{{"metric": labels, "values": [[unix seconds, "value"], …]}}: {cause}'
        ) from cause
    except msgspec.DecodeError as cause:
        raise CutShort(str(cause)) from cause
    if any(lists.values()):
        raise SourceError(
            f'recording {file} is indented, or its series do not begin with "metric"; write it by jq -c .'
        )


class _Spool:
    """Raw samples on disk, to be had by shard, slice of time and metric."""

    def __init__(self, spans: tuple[Span, ...], folder: Path) -> None:
        self._starts = np.array([milliseconds(span.start) for span in spans])
        self._ends = np.array([milliseconds(span.end) for span in spans])
        self._folder = folder
        self._waiting: dict[Form, list[pa.Table]] = defaultdict(list)
        self._rows = 0
        self._places: dict[Shard, dict[tuple[Form, int], list[tuple[Path, int]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        folder.mkdir(parents=True)

    def remove(self) -> None:
        """Remove all files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, form: Form, raw: pa.Table) -> None:
        """Add raw samples in any order."""
        self._waiting[form].append(raw)
        self._rows += raw.num_rows
        if self._rows >= SPOOL_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        for form, tables in self._waiting.items():
            raw = join(tables, form)
            self._write(form, raw, *self._slices(times(raw)))
            if lead_of(form):
                for lead in self._leads(times(raw), lead_of(form)):
                    self._write(form, raw, *lead)
        self._waiting.clear()
        self._rows = 0

    def shards(self) -> list[Shard]:
        """All shards that have samples, by time."""
        return sorted(self._places, key=lambda shard: (shard.start_ms, shard.node))

    def answers(self, form: Form, shard: Shard) -> Iterator[Answer]:
        """Give a shard's samples of one metric slice by slice, in the order of time."""
        for (of, start), places in sorted(self._places[shard].items(), key=lambda item: item[0][1]):
            if of == form:
                raw = join([_batch(path, index) for path, index in places], form)
                yield Answer(start, min(start + SLICE_MILLISECONDS, shard.end_ms), raw)

    def _slices(self, moments: _Times) -> tuple[_Times, _Times, npt.NDArray[np.bool_]]:
        """Find for each time its span, the start of its slice, and whether it is in any span."""
        span = np.searchsorted(self._starts, moments - 1, side="right") - 1
        inside = (span >= 0) & (moments <= self._ends[span])
        since = moments - self._starts[span] - 1
        return span, moments - 1 - since % SLICE_MILLISECONDS, inside

    def _leads(self, moments: _Times, lead: int) -> Iterator[tuple[_Times, _Times, npt.NDArray[np.bool_]]]:
        """Find for each span the slice that begins at each time or soon after it, and whether within a lead."""
        for span, (begin, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            start = begin + np.maximum(-((begin - moments) // SLICE_MILLISECONDS), 0) * SLICE_MILLISECONDS
            yield np.full(len(moments), span), start, (start - moments < lead) & (start < end)

    def _write(self, form: Form, raw: pa.Table, span: _Times, start: _Times, wanted: npt.NDArray[np.bool_]) -> None:
        """Write a run of samples, a batch for each node and slice, and note where each batch is."""
        codes, nodes = names(raw, NODE)
        order = np.lexsort((start, codes))
        order = order[wanted[order]]
        if not len(order):
            return
        cuts = np.flatnonzero((np.diff(start[order]) != 0) | (np.diff(codes[order]) != 0)) + 1
        path = self._folder / f"{len(list(self._folder.iterdir()))}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, raw.schema) as writer:
            for index, rows in enumerate(np.split(order, cuts)):
                writer.write_table(raw.take(pa.array(rows)).combine_chunks())
                one = rows[0]
                shard = self._shard(nodes[codes[one]] or NAMELESS_NODE, int(span[one]), int(start[one]))
                self._places[shard][form, int(start[one])].append((path, index))

    def _shard(self, node: str, span: int, slice_start: int) -> Shard:
        begin, end = int(self._starts[span]), int(self._ends[span])
        start = begin + (slice_start - begin) // STRETCH_MILLISECONDS * STRETCH_MILLISECONDS
        return Shard(node, start, min(start + STRETCH_MILLISECONDS, end))


def _batch(path: Path, index: int) -> pa.Table:
    with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as reader:
        return pa.Table.from_batches([reader.get_batch(index)])
