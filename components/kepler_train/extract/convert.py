"""From raw columns of one node to the rows of the tables, with what is no measurement set apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kepler_train.contract.errors import SourceError
from kepler_train.contract.tables import SCHEMAS
from kepler_train.extract.counters import LEAD_MILLISECONDS, steps
from kepler_train.extract.decode import (
    FREQUENCY_FORM,
    JOB,
    NODE,
    NODE_FORM,
    PACKAGE_FORM,
    POD_FORM,
    TIMESTAMP,
    Form,
)
from kepler_train.extract.sieve import Sieve, names, numbers, ranks, times

NAMELESS_NODE = "(no instance)"
"""The node of samples that do not say where they are from; all of them are set apart."""

_KEYS = {
    POD_FORM: ("pod_namespace", "pod_name"),
    NODE_FORM: (),
    FREQUENCY_FORM: ("cpu",),
    PACKAGE_FORM: ("pkg_id",),
}

_LEAST_HERTZ = 1e8
"""No CPU runs slower: a smaller number is in kHz, which one generation of exporters wrote despite the metric's name."""

_CPU_TIME_TOLERANCE = 1.1
"""The exporter's interval is not exact."""

_Columns = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Answer:
    """Raw samples of one metric and node with `after_ms` < t <= `until_ms`, and a lead of earlier ones for counters."""

    after_ms: int
    until_ms: int
    raw: pa.Table


def lead_of(form: Form) -> int:
    """How much earlier than asked, in ms, the samples of a metric are wanted."""
    return LEAD_MILLISECONDS if form is PACKAGE_FORM else 0


class Converter:
    """Converts the answers for one node, in the order of FORMS: what the node says of itself judges what follows."""

    def __init__(self, node: str, interval_seconds: float) -> None:
        self._node = node
        self._interval_seconds = interval_seconds
        self._jobs: set[str] = set()
        self._cpus: set[str] = set()

    def convert(self, form: Form, answer: Answer) -> tuple[pa.Table, pa.Table]:
        """Give the table's rows in the order of time, and what was set apart from them.

        Raises SourceError where two exporters speak for the node at the same time.
        """
        raw = answer.raw
        sieve = Sieve(form, raw, _KEYS[form])
        if self._node == NAMELESS_NODE:
            sieve.set_apart(np.ones(raw.num_rows, np.bool_), "missing_label", "no label instance")
        sieve.check_names()
        unwritten = sieve.check_numbers()
        if form is NODE_FORM:
            self._learn_jobs(raw)
        elif form is FREQUENCY_FORM:
            self._choose_exporter(sieve)
        elif form is POD_FORM:
            self._check_cpu_time(sieve)
        order = sieve.order()
        columns = {column: numbers(raw, column) for column in form.number_columns if column not in unwritten}
        if form is FREQUENCY_FORM:
            columns = {
                column: np.where(values < _LEAST_HERTZ, values * 1000, values) for column, values in columns.items()
            }
        elif form is PACKAGE_FORM:
            columns = self._differences(columns, sieve, order)
        wanted = sieve.kept & (times(raw) > answer.after_ms)
        rows = self._rows(form, raw, columns, order[wanted[order]])
        return rows, sieve.apart(self._node, answer.after_ms)

    def _learn_jobs(self, raw: pa.Table) -> None:
        codes, jobs = names(raw, JOB)
        moment = times(raw)
        spoke = sorted(
            (int(moment[codes == code].min()), int(moment[codes == code].max()), jobs[code])
            for code in set(codes.tolist())
        )
        for (_, last, earlier), (start, _, later) in pairwise(spoke):
            if start <= last:
                raise SourceError(
                    f"{self._node} is exported by two jobs at the same time, {earlier!r} and {later!r}; "
                    f'choose one with a selector such as job="{earlier}"'
                )
        self._jobs.update(job for _, _, job in spoke)

    def _choose_exporter(self, sieve: Sieve) -> None:
        """Keep one exporter's frequency for each cpu: of the job that gives the node's energy, else the first."""
        job_codes, jobs = names(sieve.raw, JOB)
        cpu_codes, cpus = names(sieve.raw, "cpu")
        exporters = np.unique(job_codes)
        preference = sorted(exporters.tolist(), key=lambda code: (jobs[code] not in self._jobs, jobs[code]))
        for code, cpu in enumerate(cpus):
            mine = cpu_codes == code
            if not mine.any():
                continue
            self._cpus.add(cpu)
            chosen, *others = [job for job in preference if (mine & (job_codes == job)).any()]
            for other in others:
                fact = f"given by job {jobs[other]!r} too; kept is that of {jobs[chosen]!r}"
                sieve.set_apart(mine & (job_codes == other), "duplicate", fact)

    def _check_cpu_time(self, sieve: Sieve) -> None:
        if self._cpus:
            most = len(self._cpus) * self._interval_seconds * 1000 * _CPU_TIME_TOLERANCE
            cpu_time = numbers(sieve.raw, "curr_cpu_time")
            fact = f"more ms than {len(self._cpus)} cpus have in an interval: curr_cpu_time is"
            sieve.set_apart(cpu_time > most, "impossible", fact, cpu_time)

    def _differences(self, counters: _Columns, sieve: Sieve, order: npt.NDArray[np.intp]) -> _Columns:
        """Take each counter's difference over one interval; set the samples apart that have none."""
        owner = ranks(sieve.raw, _KEYS[PACKAGE_FORM])
        kept = order[sieve.kept[order]]
        kept = kept[np.argsort(owner[kept], kind="stable")]
        values = np.column_stack([counter[kept] for counter in counters.values()])
        since = steps(owner[kept], times(sieve.raw)[kept], values, self._interval_seconds)

        def scattered(found: npt.NDArray[Any], otherwise: Any) -> npt.NDArray[Any]:
            whole = np.full(sieve.raw.num_rows, otherwise)
            whole[kept] = found
            return whole

        elapsed = scattered(since.elapsed_seconds, np.nan)
        sieve.set_apart(scattered(since.first, False), "first_sample", "no sample before it to take a difference from")
        sieve.set_apart(scattered(since.gap, False), "gap", "seconds since the sample before it:", elapsed)
        sieve.set_apart(scattered(since.reset, False), "counter_reset", "a counter is smaller than before")
        sieve.set_apart(scattered(since.wrapped, False), "counter_wrap", "a counter reached its end and starts again")
        return {column: scattered(since.differences[:, index], np.nan) for index, column in enumerate(counters)}

    def _rows(self, form: Form, raw: pa.Table, columns: _Columns, chosen: npt.NDArray[np.intp]) -> pa.Table:
        """Build the table from the chosen raw rows; columns that the exporter does not write are null."""
        schema = SCHEMAS[form.table]
        arrays = []
        for field in schema:
            if field.name == TIMESTAMP:
                arrays.append(pa.array(times(raw)[chosen]).cast(field.type))
            elif field.name == NODE:
                arrays.append(pa.DictionaryArray.from_arrays(np.zeros(len(chosen), np.int32), [self._node]))
            elif pa.types.is_dictionary(field.type):
                arrays.append(_names(*names(raw, field.name), chosen))
            elif field.name in columns:
                arrays.append(pa.array(columns[field.name][chosen]))
            else:
                arrays.append(pa.nulls(len(chosen), field.type))
        return pa.table(arrays, schema=schema)


def _names(codes: npt.NDArray[np.int32], words: list[str], chosen: npt.NDArray[np.intp]) -> pa.DictionaryArray:
    """The chosen rows' names, with a dictionary of no others; null for an empty one."""
    codes = codes[chosen]
    used = np.flatnonzero(np.bincount(codes, minlength=len(words)))
    renumbered = np.zeros(len(words), np.int32)
    renumbered[used] = np.arange(len(used))
    nameless = np.array([not word for word in words], np.bool_)
    dictionary = pa.array([words[code] for code in used], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(renumbered[codes], mask=nameless[codes]), dictionary)
