"""From raw samples of one node to the rows of the tables, with what is no measurement set apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kepler_train.contract.errors import SourceError
from kepler_train.extract import arrow
from kepler_train.extract.counters import LEAD_MILLISECONDS, steps
from kepler_train.extract.decode import Floats, Raw
from kepler_train.extract.forms import FREQUENCY_FORM, JOB, NODE_FORM, PACKAGE_FORM, POD_FORM, Form
from kepler_train.extract.sieve import Sieve, ranks

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


@dataclass(frozen=True)
class Answer:
    """Raw samples of one metric and node that are wanted after a time, and a lead of earlier ones for counters."""

    after_ms: int
    raw: Raw


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
            sieve.set_apart(np.ones(len(raw), np.bool_), "missing_label", "no label instance")
        sieve.check_names()
        unwritten = sieve.check_numbers()
        if form is NODE_FORM:
            self._learn_jobs(raw)
        elif form is FREQUENCY_FORM:
            self._choose_exporter(sieve)
        elif form is POD_FORM:
            self._check_cpu_time(sieve)
        order = sieve.order()
        columns = {column: raw.numbers[column] for column in form.number_columns if column not in unwritten}
        if form is FREQUENCY_FORM:
            columns = {column: _in_hertz(values) for column, values in columns.items()}
        elif form is PACKAGE_FORM:
            columns = self._differences(columns, sieve, order)
        kept = sieve.kept & (raw.timestamp_ms > answer.after_ms)
        rows = arrow.rows(form, self._node, raw, columns, order[kept[order]])
        return rows, arrow.set_apart(form, self._node, sieve.apart(answer.after_ms))

    def _learn_jobs(self, raw: Raw) -> None:
        codes, jobs = raw.names[JOB].codes, raw.names[JOB].words
        moments = {jobs[code]: raw.timestamp_ms[codes == code] for code in np.flatnonzero(np.bincount(codes))}
        spoke = sorted((int(moment.min()), int(moment.max()), job) for job, moment in moments.items())
        for (_, last, earlier), (start, _, later) in pairwise(spoke):
            if start <= last:
                raise SourceError(
                    f"{self._node} is exported by two jobs at the same time, {earlier!r} and {later!r}; "
                    f'choose one with a selector such as job="{earlier}"'
                )
        self._jobs.update(job for _, _, job in spoke)

    def _choose_exporter(self, sieve: Sieve) -> None:
        """Keep one exporter's frequency for each cpu: of the job that gives the node's energy, else the first."""
        jobs, cpus = sieve.raw.names[JOB], sieve.raw.names["cpu"]
        given = {
            (jobs.words[job], cpus.words[cpu])
            for job, cpu in {*zip(jobs.codes.tolist(), cpus.codes.tolist(), strict=True)}
        }
        self._cpus.update(cpu for _, cpu in given)
        chosen: dict[str, str] = {}
        for job, cpu in sorted(given, key=lambda pair: (pair[0] not in self._jobs, pair[0])):
            if chosen.setdefault(cpu, job) != job:
                other = (jobs.codes == jobs.words.index(job)) & (cpus.codes == cpus.words.index(cpu))
                sieve.set_apart(other, "duplicate", f"given by job {job!r} too; kept is that of {chosen[cpu]!r}")

    def _check_cpu_time(self, sieve: Sieve) -> None:
        if self._cpus:
            most = len(self._cpus) * self._interval_seconds * 1000 * _CPU_TIME_TOLERANCE
            cpu_time = sieve.raw.numbers["curr_cpu_time"]
            fact = f"more ms than {len(self._cpus)} cpus have in an interval: curr_cpu_time is"
            sieve.set_apart(cpu_time > most, "impossible", fact, cpu_time)

    def _differences(self, counters: dict[str, Floats], sieve: Sieve, order: npt.NDArray[np.intp]) -> dict[str, Floats]:
        """Take each counter's difference over one interval; set the samples apart that have none."""
        owner = ranks(sieve.raw, _KEYS[PACKAGE_FORM])
        kept = order[sieve.kept[order]]
        kept = kept[np.argsort(owner[kept], kind="stable")]
        values = np.column_stack([counter[kept] for counter in counters.values()])
        since = steps(owner[kept], sieve.raw.timestamp_ms[kept], values, self._interval_seconds)

        def scattered(found: npt.NDArray[Any], otherwise: Any) -> npt.NDArray[Any]:
            whole = np.full(len(sieve.raw), otherwise)
            whole[kept] = found
            return whole

        elapsed = scattered(since.elapsed_seconds, np.nan)
        sieve.set_apart(scattered(since.first, False), "first_sample", "no sample before it to take a difference from")
        sieve.set_apart(scattered(since.gap, False), "gap", "seconds since the sample before it:", elapsed)
        sieve.set_apart(scattered(since.reset, False), "counter_reset", "a counter is smaller than before")
        sieve.set_apart(scattered(since.wrapped, False), "counter_wrap", "a counter reached its end and starts again")
        return {column: scattered(since.differences[:, index], np.nan) for index, column in enumerate(counters)}


def _in_hertz(values: Floats) -> Floats:
    return np.where(values < _LEAST_HERTZ, values * 1000, values)
