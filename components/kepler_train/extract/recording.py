"""Reads recordings: files with the answers of a Prometheus, of any size, in whatever order their series are.

Samples pass through a spool on disk, sorted by node and slices of time: a recording lists series by their labels, the
tables want them by time, and neither has to fit in memory.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, cast

import msgspec
import numpy as np

from kepler_train.contract.errors import SourceError
from kepler_train.contract.window import Span
from kepler_train.extract.convert import Answer
from kepler_train.extract.decode import NotSeries
from kepler_train.extract.forms import FORMS, Form
from kepler_train.extract.pieces import CutShort, NoSeries, SeriesPieces
from kepler_train.extract.shards import Shard, moment
from kepler_train.extract.spool import Spool

_log = logging.getLogger("kepler_train")

_ALL_TIME = Span(moment(0), moment(0) + timedelta(days=365 * 1000))


class RecordingReader:
    """Answers for each shard of what the files hold of the asked spans; without spans, of all that they hold."""

    streams = 1

    def __init__(self, files: tuple[str, ...], spans: tuple[Span, ...], interval_seconds: float, scratch: Path) -> None:
        self._files = [Path(file) for file in files]
        self._spool = Spool(spans or (_ALL_TIME,), scratch / "spool")
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


def _read(file: Path, spool: Spool) -> tuple[int, int, int]:
    """Put a recording into the spool; gives how many samples there were, and the times of first and last in ms."""
    forms = {form.metric: form for form in FORMS}
    samples, first, last = 0, np.iinfo(np.int64).max, 0
    try:
        with _open(file) as stream:
            pieces = SeriesPieces(stream.read)
            for metric, piece in pieces:
                if not pieces.skeleton:  # There are series, but their list began otherwise than it should.
                    raise _indented(file)
                if metric in forms:
                    times = spool.add(forms[metric], piece)
                    samples += len(times)
                    first, last = int(times.min(initial=first)), int(times.max(initial=last))
            _check_whole(file, pieces.skeleton)
    except (CutShort, EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as cause:
        raise SourceError(f"recording {file} ends in the middle or is damaged; copy or record it again") from cause
    except NoSeries as cause:
        raise _indented(file) from cause
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
            f'{{"metric": labels, "values": [[unix seconds, "value"], …]}}; an answer of Prometheus to a metric\'s raw '
            f"samples becomes one by jq -c '{{METRIC: .data.result}}': {cause}"
        ) from cause
    except msgspec.DecodeError as cause:
        raise CutShort(str(cause)) from cause
    if any(lists.values()):
        raise _indented(file)


def _indented(file: Path) -> SourceError:
    return SourceError(f'recording {file} is indented, or its series do not begin with "metric"; write it by jq -c .')
