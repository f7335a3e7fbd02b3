"""Tells measurements from what only looks like them; each sample set apart keeps its reason and a detail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kepler_train.contract.tables import SET_APART_SCHEMA
from kepler_train.extract.decode import ABSENT, NODE, TIMESTAMP, Form

IMPOSSIBLE = 1e15
"""No count, time or energy of one interval comes near; an unsigned counter that wrapped below zero is far above."""

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]


def numbers(raw: pa.Table, column: str) -> Numbers:
    """A raw column of numbers."""
    values: Numbers = raw.column(column).to_numpy()
    return values


def times(raw: pa.Table) -> npt.NDArray[np.int64]:
    """The raw timestamps in ms."""
    values: npt.NDArray[np.int64] = raw.column(TIMESTAMP).to_numpy()
    return values


def names(raw: pa.Table, column: str) -> tuple[npt.NDArray[np.int32], list[str]]:
    """A raw column of names, of one chunk, as codes and what they stand for."""
    chunk = raw.column(column).chunk(0) if raw.num_rows else pa.array([], pa.dictionary(pa.int32(), pa.string()))
    return chunk.indices.to_numpy(), chunk.dictionary.to_pylist()


def ranks(raw: pa.Table, columns: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number the rows by names: the same for equal names in all columns, ascending in alphabetical order."""
    rank = np.zeros(raw.num_rows, np.int64)
    for column in columns:
        codes, words = names(raw, column)
        place = np.empty(len(words), np.int64)
        place[sorted(range(len(words)), key=words.__getitem__)] = np.arange(len(words))
        rank = rank * max(len(words), 1) + place[codes]
    return rank


class Sieve:
    """The samples of a raw table of one node: which are kept, and why the others are not. The first reason stands."""

    def __init__(self, form: Form, raw: pa.Table, keys: Sequence[str]) -> None:
        self.raw = raw
        self.kept: Mask = np.ones(raw.num_rows, np.bool_)
        self._form = form
        self._keys = keys
        self._reasons: dict[int, tuple[str, str]] = {}

    def set_apart(self, mask: Mask, reason: str, fact: str, values: Numbers | None = None) -> None:
        """Set the samples under the mask apart; the detail is the subject, `fact`, and the sample's own value."""
        mask = mask & self.kept
        if not mask.any():
            return
        self.kept &= ~mask
        subjects = [names(self.raw, key) for key in self._keys]
        for index in np.flatnonzero(mask).tolist():
            subject = "/".join(words[codes[index]] for codes, words in subjects)
            subject = f"{self._keys[0]} {subject}" if len(self._keys) == 1 else subject
            value = "" if values is None else f" {values[index]:.10g}"
            self._reasons[index] = (reason, f"{subject}: {fact}{value}" if subject else f"{fact}{value}")

    def check_names(self) -> None:
        """Set samples apart that do not say what they are of."""
        for key in self._keys:
            codes, words = names(self.raw, key)
            nameless = np.array([word == "" for word in words], np.bool_)
            self.set_apart(nameless[codes], "missing_label", f"no label for {key}")

    def check_numbers(self) -> tuple[str, ...]:
        """Set samples apart whose numbers are none, or none that can be; gives the columns that no sample has.

        A label that no sample carries is one that this exporter does not write: the column is empty, and that is no
        fault of the samples. A label that only some carry is missing from the others.
        """
        unwritten = []
        for column in self._form.number_columns:
            values = numbers(self.raw, column)
            absent = values == ABSENT
            if len(absent) and absent.all():
                unwritten.append(column)
                continue
            self.set_apart(absent, "missing_label", f"no label for {column}")
            self.set_apart(~np.isfinite(values), "not_finite", f"{column} is", values)
            self.set_apart(values < 0, "negative", f"{column} is", values)
            self.set_apart(values >= IMPOSSIBLE, "impossible", f"{column} is", values)
        return tuple(unwritten)

    def order(self) -> npt.NDArray[np.intp]:
        """Order all samples by time, then by keys; a second kept sample of the same is set apart as duplicate."""
        rank = ranks(self.raw, self._keys)
        moment = times(self.raw) - times(self.raw).min(initial=np.iinfo(np.int64).max)
        position = moment * (int(rank.max(initial=0)) + 1) + rank
        # Of duplicates the least stays, so that it does not depend on the order in which samples came.
        order: npt.NDArray[np.intp] = np.lexsort((numbers(self.raw, self._form.value), position))
        kept = order[self.kept[order]]
        again = np.zeros(len(order), np.bool_)
        again[kept[1:]] = position[kept[1:]] == position[kept[:-1]]
        self.set_apart(again, "duplicate", "a second sample at the same time")
        return order

    def apart(self, node: str, after_ms: int) -> pa.Table:
        """What was set apart of the samples after a time (ms), in the order of time."""
        moment = times(self.raw)
        indices = sorted(
            (i for i in self._reasons if moment[i] > after_ms), key=lambda i: (moment[i], self._reasons[i])
        )
        return pa.table(
            {
                TIMESTAMP: self.raw.column(TIMESTAMP).take(pa.array(indices, pa.int64())),
                NODE: pa.array([node] * len(indices)),
                "table": pa.array([self._form.table] * len(indices)),
                "reason": pa.array([self._reasons[index][0] for index in indices], pa.string()),
                "detail": pa.array([self._reasons[index][1] for index in indices], pa.string()),
            }
        ).cast(SET_APART_SCHEMA)
