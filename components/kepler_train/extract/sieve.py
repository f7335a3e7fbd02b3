"""Tells measurements from what only looks like them; each sample set apart keeps its reason and a detail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kepler_train.extract.decode import ABSENT, Floats, Raw
from kepler_train.extract.forms import Form

IMPOSSIBLE = 1e15
"""No count, time or energy of one interval comes near; an unsigned counter that wrapped below zero is far above."""

Mask = npt.NDArray[np.bool_]


def ranks(raw: Raw, columns: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number the rows by names: the same for equal names in all columns, ascending in alphabetical order."""
    rank = np.zeros(len(raw), np.int64)
    for column in columns:
        words = raw.names[column].words
        place = np.empty(len(words), np.int64)
        place[sorted(range(len(words)), key=words.__getitem__)] = np.arange(len(words))
        rank = rank * max(len(words), 1) + place[raw.names[column].codes]
    return rank


class Sieve:
    """The raw samples of one node: which are kept, and why the others are not. The first reason stands."""

    def __init__(self, form: Form, raw: Raw, keys: Sequence[str]) -> None:
        self.raw = raw
        self.kept: Mask = np.ones(len(raw), np.bool_)
        self._form = form
        self._keys = keys
        self._reasons: dict[int, tuple[str, str]] = {}

    def set_apart(self, mask: Mask, reason: str, fact: str, values: Floats | None = None) -> None:
        """Set the samples under the mask apart; the detail is the subject, `fact`, and the sample's own value."""
        mask = mask & self.kept
        if not mask.any():
            return
        self.kept &= ~mask
        for index in np.flatnonzero(mask).tolist():
            subject = "/".join(self.raw.names[key].words[self.raw.names[key].codes[index]] for key in self._keys)
            subject = f"{self._keys[0]} {subject}" if len(self._keys) == 1 else subject
            value = "" if values is None else f" {values[index]:.10g}"
            self._reasons[index] = (reason, f"{subject}: {fact}{value}" if subject else f"{fact}{value}")

    def check_names(self) -> None:
        """Set samples apart that do not say what they are of."""
        for key in self._keys:
            nameless = np.array([not word for word in self.raw.names[key].words], np.bool_)
            self.set_apart(nameless[self.raw.names[key].codes], "missing_label", f"no label for {key}")

    def check_numbers(self) -> tuple[str, ...]:
        """Set samples apart whose numbers are none, or none that can be; gives the columns that no sample has.

        A label that no sample carries is one that this exporter does not write: the column is empty, and that is no
        fault of the samples. A label that only some carry is missing from the others.
        """
        unwritten = []
        for column in self._form.number_columns:
            values = self.raw.numbers[column]
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
        moment = self.raw.timestamp_ms - self.raw.timestamp_ms.min(initial=np.iinfo(np.int64).max)
        position = moment * (int(rank.max(initial=0)) + 1) + rank
        # Of duplicates the least stays, so that it does not depend on the order in which samples came.
        order: npt.NDArray[np.intp] = np.lexsort((self.raw.numbers[self._form.value], position))
        kept = order[self.kept[order]]
        again = np.zeros(len(order), np.bool_)
        again[kept[1:]] = position[kept[1:]] == position[kept[:-1]]
        self.set_apart(again, "duplicate", "a second sample at the same time")
        return order

    def apart(self, after_ms: int) -> list[tuple[int, str, str]]:
        """What was set apart of the samples after a time, by time: (time in ms, reason, detail)."""
        moment = self.raw.timestamp_ms.tolist()
        return sorted((moment[i], *why) for i, why in self._reasons.items() if moment[i] > after_ms)
