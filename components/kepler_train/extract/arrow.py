"""Builds the tables from NumPy columns, by their buffers.

`pyarrow.array` and `to_numpy` would import pandas: a third of a second and 40 MB that extraction has no use for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kepler_train.contract.tables import SCHEMAS, SET_APART_SCHEMA
from kepler_train.extract.decode import Floats, Raw
from kepler_train.extract.forms import NODE, TIMESTAMP, Form


def rows(form: Form, node: str, raw: Raw, columns: dict[str, Floats], chosen: npt.NDArray[np.intp]) -> pa.Table:
    """Build a table of the chosen raw rows, numbers from `columns`; a column that is not there is null."""
    schema = SCHEMAS[form.table]
    arrays = []
    for field in schema:
        if field.name == TIMESTAMP:
            arrays.append(_primitive(raw.timestamp_ms[chosen], field.type))
        elif field.name == NODE:
            arrays.append(_one_name(node, len(chosen)))
        elif field.name in raw.names:
            arrays.append(_names(raw.names[field.name].codes[chosen], raw.names[field.name].words))
        elif field.name in columns:
            arrays.append(_primitive(columns[field.name][chosen], field.type))
        else:
            arrays.append(pa.nulls(len(chosen), field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def set_apart(form: Form, node: str, samples: Sequence[tuple[int, str, str]]) -> pa.Table:
    """Build the table of samples set apart: (time in ms, reason, detail)."""
    count = len(samples)
    reasons = sorted({reason for _, reason, _ in samples})
    codes = np.fromiter((reasons.index(reason) for _, reason, _ in samples), np.int32, count)
    arrays = [
        _primitive(
            np.fromiter((time for time, _, _ in samples), np.int64, count), SET_APART_SCHEMA.field(TIMESTAMP).type
        ),
        _one_name(node, count),
        _one_name(form.table, count),
        _names(codes, reasons),
        _strings([detail for _, _, detail in samples]),
    ]
    return pa.Table.from_arrays(arrays, schema=SET_APART_SCHEMA)


def _primitive(
    values: npt.NDArray[np.generic], kind: pa.DataType, valid: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """An Arrow array of numbers or times over the same memory; null where not valid."""
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def _strings(words: Sequence[str]) -> pa.Array:
    """An Arrow array of strings."""
    encoded = [word.encode() for word in words]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(word) for word in encoded], out=offsets[1:])
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def _names(codes: npt.NDArray[np.int32], words: Sequence[str]) -> pa.Array:
    """A dictionary array with none but the words that occur; null for the empty word."""
    used = np.flatnonzero(np.bincount(codes, minlength=len(words)))
    renumbered = np.zeros(len(words), np.int32)
    renumbered[used] = np.arange(len(used))
    named = np.array([bool(word) for word in words], np.bool_)[codes]
    indices = _primitive(renumbered[codes], pa.int32(), None if named.all() else named)
    return pa.DictionaryArray.from_arrays(indices, _strings([words[code] for code in used.tolist()]))


def _one_name(word: str, count: int) -> pa.Array:
    """A dictionary array of the same word throughout."""
    return _names(np.zeros(count, np.int32), [word])
