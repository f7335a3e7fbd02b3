"""Decodes series into raw columns: one row per stored sample, labels as names and numbers, nothing judged yet.

Only the labels that become columns are decoded, into a typed struct of their own for each metric; numbers arrive as
strings and become floats without a Python string in between.
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
import pyarrow as pa

from kepler_train.contract.features import ARCHITECTURE, WORKLOAD_FEATURES, exporter_label
from kepler_train.contract.tables import (
    FREQUENCY,
    METRIC_OF_TABLE,
    NODE_ENERGY_PARTS,
    NODE_STAT,
    PACKAGE,
    POD_STAT,
    SCHEMAS,
)

ABSENT = -1.7e308
"""Stands in a raw column of numbers for a label that the series does not have."""

TIMESTAMP, NODE, JOB = "timestamp", "node", "job"
_NAME_TYPE = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Form:
    """Which labels of a metric become which raw columns, besides `timestamp` (ms) and the sample's value."""

    table: str
    names: tuple[tuple[str, str], ...]
    """(label, column) of names; an absent label and an empty one are the same to Prometheus."""
    numbers: tuple[tuple[str, str], ...]
    """(label, column) of numbers."""
    value: str
    """Column of the sample's value; it may be none of the table's."""

    @property
    def metric(self) -> str:
        """The metric's name."""
        return METRIC_OF_TABLE[self.table]

    @property
    def number_columns(self) -> tuple[str, ...]:
        """The table's columns of numbers."""
        columns = (*(column for _, column in self.numbers), self.value)
        return tuple(column for column in columns if column in SCHEMAS[self.table].names)


_NODE_LABEL = ("instance", NODE)
_NODE_NUMBERS = (
    *(f"node_curr_{feature.removeprefix('curr_')}" for feature in WORKLOAD_FEATURES),
    *(f"node_curr_energy_in_{part}_joule" for part in NODE_ENERGY_PARTS),
)

POD_FORM = Form(
    POD_STAT,
    (_NODE_LABEL, ("pod_name", "pod_name"), ("pod_namespace", "pod_namespace")),
    tuple((exporter_label(feature), feature) for feature in WORKLOAD_FEATURES),
    "pod_energy_millijoules",
)
NODE_FORM = Form(
    NODE_STAT,
    (_NODE_LABEL, (JOB, JOB), (ARCHITECTURE, ARCHITECTURE)),
    tuple((label, label) for label in _NODE_NUMBERS),
    "sensor_energy_joules",
)
FREQUENCY_FORM = Form(FREQUENCY, (_NODE_LABEL, (JOB, JOB), ("cpu", "cpu")), (), "frequency_hertz")
PACKAGE_FORM = Form(
    PACKAGE,
    (_NODE_LABEL, ("pkg_id", "pkg_id")),
    tuple((part, f"{part}_energy_millijoules") for part in ("core", "dram", "uncore")),
    "package_energy_millijoules",
)
FORMS = (NODE_FORM, FREQUENCY_FORM, PACKAGE_FORM, POD_FORM)
"""In the order of reading: what the node says of itself comes before what is judged by it."""


class NotSeries(ValueError):
    """What came is JSON, but not series with samples."""


class _Sample(msgspec.Struct, array_like=True, gc=False):
    seconds: float
    value: float


class _TextSample(msgspec.Struct, array_like=True, gc=False):
    seconds: float
    value: str


def decode(piece: bytes, form: Form) -> pa.Table:
    """Decode a JSON array of series into raw columns.

    Numbers that are none (empty, `+Inf`, words) come out as NaN or infinite, and cost their piece a slower way.
    Raises NotSeries for anything that is not an array of series.
    """
    fast, tolerant = _decoders(form)
    try:
        return _columns(fast.decode(piece), form, _same)
    except msgspec.DecodeError:
        pass
    try:
        return _columns(tolerant.decode(piece), form, _numbers)
    except msgspec.DecodeError as cause:
        raise NotSeries(str(cause)) from cause


def join(tables: Sequence[pa.Table], form: Form) -> pa.Table:
    """Put raw tables together into one whose columns are single chunks with one dictionary each."""
    joined = pa.concat_tables(tables or [_columns([], form, _same)])
    return joined.unify_dictionaries().combine_chunks()


@lru_cache
def _decoders(form: Form) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    def decoder(sample: type, number: Any, absent: float | None, *, strict: bool) -> msgspec.json.Decoder[Any]:
        fields = [(label, str, "") for label, _ in form.names] + [(label, number, absent) for label, _ in form.numbers]
        # Prometheus writes labels in alphabetical order: a struct in the same order finds each field at once.
        labels = msgspec.defstruct("Labels", sorted(fields), gc=False)
        series = msgspec.defstruct("Series", [("metric", labels), ("values", list[sample])], gc=False)  # type: ignore[valid-type]
        return msgspec.json.Decoder(list[series], strict=strict)  # type: ignore[valid-type]

    fast = decoder(_Sample, float, ABSENT, strict=False)
    return fast, decoder(_TextSample, "str | None", None, strict=True)


def _columns(series: list[Any], form: Form, numbers: Callable[[Iterable[Any]], Iterable[float]]) -> pa.Table:
    labels = [one.metric for one in series]
    values = [one.values for one in series]
    samples = list(chain.from_iterable(values))
    columns = {TIMESTAMP: pa.array(_milliseconds(samples))}
    for label, column in form.names:
        columns[column] = pa.array(list(map(attrgetter(label), labels)), type=_NAME_TYPE)
    for label, column in form.numbers:
        columns[column] = pa.array(_floats(numbers(map(attrgetter(label), labels)), len(labels)))
    columns[form.value] = pa.array(_floats(numbers(map(attrgetter("value"), samples)), len(samples)))
    if len(samples) != len(series):
        sample_counts = np.fromiter(map(len, values), np.int64, len(values))
        owner = np.repeat(np.arange(len(series)), sample_counts)
        for _, column in (*form.names, *form.numbers):
            columns[column] = columns[column].take(pa.array(owner))
    return pa.table(columns)


def _milliseconds(samples: list[Any]) -> npt.NDArray[np.int64]:
    # Rounded, not cut: seconds in binary lie beside the millisecond they mean.
    seconds = _floats(map(attrgetter("seconds"), samples), len(samples))
    return np.rint(seconds * 1000).astype(np.int64)


def _floats(values: Iterable[float], count: int) -> npt.NDArray[np.float64]:
    return np.fromiter(values, np.float64, count)


def _same(values: Iterable[float]) -> Iterable[float]:
    return values


def _numbers(texts: Iterable[str | None]) -> Iterable[float]:
    return map(_number, texts)


def _number(text: str | None) -> float:
    if text is None:
        return ABSENT
    try:
        return float(text)
    except ValueError:
        return float("nan")
