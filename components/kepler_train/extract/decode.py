"""Decodes series into raw columns: one row per stored sample, labels as names and numbers, nothing judged yet.

Only the labels that become columns are decoded, into a typed struct of their own for each metric; numbers arrive as
strings and become floats without a Python string in between, names become codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from kepler_train.extract.forms import Form

ABSENT = -1.7e308
"""Stands in a raw column of numbers for a label that the series does not have."""

_LATEST_SECONDS = 1e11
"""Far in the future; in milliseconds, long ago."""

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
        self._labels = _labels(form)
        self._words = {column: _Words() for _, column in form.names}
        self._times = _Column(np.int64)
        self._codes = {column: _Column(np.int32) for _, column in form.names}
        self._numbers = {column: _Column(np.float64) for column in (*dict(form.numbers).values(), form.value)}

    def add(self, piece: bytes) -> Times:
        """Decode a JSON array of series; gives the times of its samples in ms.

        Numbers that are none (`+Inf`, words) become NaN or infinite, and cost their piece a slower way.
        Raises NotSeries for anything that is not an array of series, or whose times cannot be meant.
        """
        fast, tolerant = _decoders(self._form)
        try:
            try:
                return self._add(fast.decode(piece), _same, _same)
            except msgspec.DecodeError:
                return self._add(tolerant.decode(piece), _label_numbers, _numbers)
        except msgspec.DecodeError as cause:
            raise NotSeries(str(cause)) from cause
        except UnicodeDecodeError as cause:
            raise NotSeries(f"{cause}; is it damaged, or not in UTF-8?") from cause

    def take(self) -> Raw:
        """Give what was added since the last time; words stay known, so codes mean the same in all that it gives."""
        names = {column: Names(codes.take(), list(self._words[column])) for column, codes in self._codes.items()}
        numbers = {column: values.take() for column, values in self._numbers.items()}
        return Raw(self._times.take(), names, numbers)

    def _add(self, series: list[Any], label_numbers: _Reading, numbers: _Reading) -> Times:
        samples = list(chain.from_iterable([one.values for one in series]))
        seconds = np.fromiter(map(attrgetter("seconds"), samples), np.float64, len(samples))
        if not ((seconds >= 0) & (seconds < _LATEST_SECONDS)).all():
            raise NotSeries(
                f"times from {seconds.min():.10g} to {seconds.max():.10g}, not in seconds since 1970; "
                "are these milliseconds?"
            )
        if not series:
            return np.empty(0, np.int64)
        # A row for each series, then a column for each label: four fifths of what asking each label's column costs.
        labels = dict(zip(self._labels, zip(*[astuple(one.metric) for one in series], strict=True), strict=True))
        counts = [len(one.values) for one in series]
        repeats = None if counts.count(1) == len(counts) else counts
        for label, column in self._form.names:
            codes = map(self._words[column].__getitem__, labels[label])
            self._codes[column].extend(codes, len(series), repeats)
        for label, column in self._form.numbers:
            self._numbers[column].extend(label_numbers(labels[label]), len(series), repeats)
        self._numbers[self._form.value].extend(numbers(map(attrgetter("value"), samples)), len(samples))
        # Rounded, not cut: seconds in binary lie beside the millisecond they mean.
        times = np.rint(seconds * 1000).astype(np.int64)
        self._times.extend(times, len(times))
        # So numbers are freed with their series, as they lie in memory: column by column would make the next piece a
        # twentieth slower.
        del labels, samples
        return times


class _Column:
    """A growing array: few large pieces of memory where a list of small arrays would leave holes among the decoded."""

    def __init__(self, kind: type[np.generic]) -> None:
        self._values: npt.NDArray[Any] = np.empty(0, kind)
        self._count = 0

    def extend(self, values: Iterable[Any], count: int, repeats: Sequence[int] | None = None) -> None:
        """Add so many values, each as often as `repeats` says, else once."""
        added = np.fromiter(values, self._values.dtype, count)
        if repeats is not None:
            added = np.repeat(added, repeats)
        end = self._count + len(added)
        if end > len(self._values):
            grown = np.empty(max(end, 2 * len(self._values)), self._values.dtype)
            grown[: self._count] = self._values[: self._count]
            self._values = grown
        self._values[self._count : end] = added
        self._count = end

    def take(self) -> npt.NDArray[Any]:
        taken = self._values[: self._count]
        self._values, self._count = taken[:0], 0
        return taken


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


def _labels(form: Form) -> tuple[str, ...]:
    """The labels that become columns, in the order in which Prometheus writes them: so each is found at once."""
    return tuple(sorted(label for label, _ in (*form.names, *form.numbers)))


@lru_cache
def _decoders(form: Form) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    def decoder(sample: type, number: Any, absent: float | str, *, strict: bool) -> msgspec.json.Decoder[Any]:
        kinds = {label: (str, "") for label, _ in form.names} | {label: (number, absent) for label, _ in form.numbers}
        labels = msgspec.defstruct("Labels", [(label, *kinds[label]) for label in _labels(form)], gc=False)
        series = msgspec.defstruct("Series", [("metric", labels), ("values", list[sample])], gc=False)  # type: ignore[valid-type]
        return msgspec.json.Decoder(list[series], strict=strict)  # type: ignore[valid-type]

    fast = decoder(_Sample, float, ABSENT, strict=False)
    return fast, decoder(_TextSample, str, "", strict=True)


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
