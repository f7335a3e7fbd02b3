"""Decodes series into raw columns: one row per stored sample, labels as names and numbers, nothing judged yet.

Only the labels that become columns are decoded, into a typed struct of their own for each metric; numbers arrive as
strings and become floats without a Python string in between, names become codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from kepler_train.extract.forms import Form

ABSENT = -1.7e308
"""Stands in a raw column of numbers for a label that the series does not have."""

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

_Reading = Callable[[Iterable[Any]], Iterable[float]]


@dataclass(frozen=True)
class Names:
    """A column of names: codes, (m,) int32, into words."""

    codes: npt.NDArray[np.int32]
    words: list[str]


@dataclass(frozen=True)
class Raw:
    """Samples as they came; every column has one value for each sample, (m,)."""

    timestamp_ms: Times
    names: dict[str, Names]
    numbers: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.timestamp_ms)

    def take(self, rows: npt.NDArray[np.intp]) -> Raw:
        """Some of the rows."""
        return Raw(
            self.timestamp_ms[rows],
            {column: Names(names.codes[rows], names.words) for column, names in self.names.items()},
            {column: values[rows] for column, values in self.numbers.items()},
        )


class NotSeries(ValueError):
    """What came is JSON, but not series with samples."""


class Decoder:
    """Gathers the samples of one metric, piece by piece."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._words = {column: _Words() for _, column in form.names}
        # An empty part each, so that there is always something of the right type to join.
        self._times = [np.empty(0, np.int64)]
        self._codes = {column: [np.empty(0, np.int32)] for _, column in form.names}
        self._numbers = {column: [np.empty(0)] for column in (*dict(form.numbers).values(), form.value)}

    def add(self, piece: bytes) -> Times:
        """Decode a JSON array of series; gives the times of its samples in ms.

        Numbers that are none (`+Inf`, words) become NaN or infinite, and cost their piece a slower way.
        Raises NotSeries for anything that is not an array of series.
        """
        fast, tolerant = _decoders(self._form)
        try:
            return self._add(fast.decode(piece), _same, _same)
        except msgspec.DecodeError:
            pass
        try:
            return self._add(tolerant.decode(piece), _label_numbers, _numbers)
        except msgspec.DecodeError as cause:
            raise NotSeries(str(cause)) from cause

    def take(self) -> Raw:
        """Give what was added since the last time; words stay known, so codes mean the same in all that it gives."""
        names = {column: Names(_emptied(codes), list(self._words[column])) for column, codes in self._codes.items()}
        numbers = {column: _emptied(values) for column, values in self._numbers.items()}
        return Raw(_emptied(self._times), names, numbers)

    def _add(self, series: list[Any], label_numbers: _Reading, numbers: _Reading) -> Times:
        labels = [one.metric for one in series]
        values = [one.values for one in series]
        samples = list(chain.from_iterable(values))
        owner: Any = ...
        if len(samples) != len(series):
            owner = np.repeat(np.arange(len(series)), np.fromiter(map(len, values), np.int64, len(values)))
        for label, column in self._form.names:
            coded = map(self._words[column].__getitem__, map(attrgetter(label), labels))
            self._codes[column].append(np.fromiter(coded, np.int32, len(labels))[owner])
        for label, column in self._form.numbers:
            read = np.fromiter(label_numbers(map(attrgetter(label), labels)), np.float64, len(labels))
            self._numbers[column].append(read[owner])
        read = np.fromiter(numbers(map(attrgetter("value"), samples)), np.float64, len(samples))
        self._numbers[self._form.value].append(read)
        # Rounded, not cut: seconds in binary lie beside the millisecond they mean.
        seconds = np.fromiter(map(attrgetter("seconds"), samples), np.float64, len(samples))
        times = np.rint(seconds * 1000).astype(np.int64)
        self._times.append(times)
        return times


class _Words(dict[str, int]):
    """Gives each word a code when it is first met."""

    def __missing__(self, word: str) -> int:
        code = self[word] = len(self)
        return code


class _Sample(msgspec.Struct, array_like=True, gc=False):
    seconds: float
    value: float


class _TextSample(msgspec.Struct, array_like=True, gc=False):
    seconds: float
    value: str


@lru_cache
def _decoders(form: Form) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    def decoder(sample: type, number: Any, absent: float | str, *, strict: bool) -> msgspec.json.Decoder[Any]:
        fields = [(label, str, "") for label, _ in form.names] + [(label, number, absent) for label, _ in form.numbers]
        # Prometheus writes labels in alphabetical order: a struct in the same order finds each field at once.
        labels = msgspec.defstruct("Labels", sorted(fields), gc=False)
        series = msgspec.defstruct("Series", [("metric", labels), ("values", list[sample])], gc=False)  # type: ignore[valid-type]
        return msgspec.json.Decoder(list[series], strict=strict)  # type: ignore[valid-type]

    fast = decoder(_Sample, float, ABSENT, strict=False)
    return fast, decoder(_TextSample, str, "", strict=True)


def _emptied(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Join the parts into one array, and let go of them."""
    joined = np.concatenate(parts)
    parts[:] = [joined[:0].copy()]
    return joined


def _same(values: Iterable[float]) -> Iterable[float]:
    return values


def _label_numbers(texts: Iterable[str]) -> Iterable[float]:
    # To Prometheus an empty label and none are the same.
    return (_number(text) if text else ABSENT for text in texts)


def _numbers(texts: Iterable[str]) -> Iterable[float]:
    return map(_number, texts)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
