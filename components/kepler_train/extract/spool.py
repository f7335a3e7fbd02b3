"""Raw samples on disk: put in as they come, had back by node and time."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kepler_train.contract.documents import writing
from kepler_train.contract.window import Span
from kepler_train.extract.convert import NAMELESS_NODE, Answer, lead_of
from kepler_train.extract.decode import Decoder, Names, Raw, Times
from kepler_train.extract.forms import FORMS, NODE, Form
from kepler_train.extract.shards import STRETCH_MILLISECONDS, Shard, milliseconds

SLICE_MILLISECONDS = STRETCH_MILLISECONDS // 12
"""What is sorted and converted at once; longer than any lead."""

WAITING_SAMPLES = 100_000
"""So many samples wait in memory to be written together."""

_Mask = npt.NDArray[np.bool_]


class Spool:
    """Samples of all metrics in any order, cut into the shards of some spans. One file a metric, of fixed records."""

    def __init__(self, spans: tuple[Span, ...], folder: Path) -> None:
        self._starts = np.array([milliseconds(span.start) for span in spans])
        self._ends = np.array([milliseconds(span.end) for span in spans])
        self._folder = folder
        self._decoders = {form: Decoder(form) for form in FORMS}
        self._written = dict.fromkeys(FORMS, 0)
        self._places: dict[Shard, dict[tuple[Form, int], list[slice]]] = defaultdict(lambda: defaultdict(list))
        self._waiting = 0
        folder.mkdir(parents=True)

    def remove(self) -> None:
        """Remove all files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, form: Form, piece: bytes) -> Times:
        """Add a JSON array of series; gives the times of its samples in ms."""
        times = self._decoders[form].add(piece)
        self._waiting += len(times)
        if self._waiting >= WAITING_SAMPLES:
            self.flush()
        return times

    def flush(self) -> None:
        """Write what waits."""
        for form, decoder in self._decoders.items():
            raw = decoder.take()
            self._write(form, raw, *self._slices(raw.timestamp_ms))
            if lead_of(form):
                for lead in self._leads(raw.timestamp_ms, lead_of(form)):
                    self._write(form, raw, *lead)
        self._waiting = 0

    def shards(self) -> list[Shard]:
        """All shards that have samples, by time."""
        return sorted(self._places, key=lambda shard: (shard.start_ms, shard.node))

    def answers(self, form: Form, shard: Shard) -> Iterator[Answer]:
        """Give a shard's samples of one metric slice by slice, in the order of time."""
        of_form = {start: places for (of, start), places in self._places[shard].items() if of == form}
        for start, places in sorted(of_form.items()):
            yield Answer(start, self._read(form, places))

    def _slices(self, moments: Times) -> tuple[Times, Times, _Mask]:
        """Find for each time its span, the start of its slice, and whether it is in any span."""
        span = np.searchsorted(self._starts, moments - 1, side="right") - 1
        inside = (span >= 0) & (moments <= self._ends[span])
        since = moments - self._starts[span] - 1
        return span, moments - 1 - since % SLICE_MILLISECONDS, inside

    def _leads(self, moments: Times, lead: int) -> Iterator[tuple[Times, Times, _Mask]]:
        """Find for each span the slice that begins at each time or soon after it, and whether within a lead."""
        for span, (begin, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            start = begin + np.maximum(-((begin - moments) // SLICE_MILLISECONDS), 0) * SLICE_MILLISECONDS
            yield np.full(len(moments), span), start, (start - moments < lead) & (start < end)

    def _write(self, form: Form, raw: Raw, span: Times, start: Times, wanted: _Mask) -> None:
        """Write samples ordered by node and slice, and note where those of each slice are."""
        node = raw.names[NODE]
        order = np.lexsort((start, node.codes))
        order = order[wanted[order]]
        if not len(order):
            return
        with writing(self._folder), self._file(form).open("ab") as file:
            file.write(_records(form, raw)[order].data)  # tofile would not say why it cannot
        cuts = np.flatnonzero((np.diff(start[order]) != 0) | (np.diff(node.codes[order]) != 0)) + 1
        for first, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(order)], strict=True):
            one = order[first]
            shard = self._shard(node.words[node.codes[one]] or NAMELESS_NODE, int(span[one]), int(start[one]))
            place = slice(self._written[form] + first, self._written[form] + end)
            self._places[shard][form, int(start[one])].append(place)
        self._written[form] += len(order)

    def _read(self, form: Form, places: list[slice]) -> Raw:
        kind = _kind(form)
        with self._file(form).open("rb") as file:
            parts = []
            for place in places:
                file.seek(place.start * kind.itemsize)
                parts.append(np.fromfile(file, kind, place.stop - place.start))
        records = np.concatenate(parts)
        known = self._decoders[form].take().names
        return Raw(
            records["timestamp_ms"].copy(),
            {column: Names(records[column].copy(), known[column].words) for _, column in form.names},
            {column: records[column].copy() for column in _numbers(form)},
        )

    def _shard(self, node: str, span: int, slice_start: int) -> Shard:
        begin, end = int(self._starts[span]), int(self._ends[span])
        start = begin + (slice_start - begin) // STRETCH_MILLISECONDS * STRETCH_MILLISECONDS
        return Shard(node, start, min(start + STRETCH_MILLISECONDS, end))

    def _file(self, form: Form) -> Path:
        return self._folder / form.table


def _numbers(form: Form) -> tuple[str, ...]:
    return (*dict(form.numbers).values(), form.value)


def _kind(form: Form) -> np.dtype[np.void]:
    """The record of a sample."""
    names = [(column, np.int32) for _, column in form.names]
    return np.dtype([("timestamp_ms", np.int64), *names, *((column, np.float64) for column in _numbers(form))])


def _records(form: Form, raw: Raw) -> npt.NDArray[np.void]:
    records = np.empty(len(raw), _kind(form))
    records["timestamp_ms"] = raw.timestamp_ms
    for column, names in raw.names.items():
        records[column] = names.codes
    for column, values in raw.numbers.items():
        records[column] = values
    return records
