"""How far off the models in service were, run after run: each on the held-out rows of its run, by the runs' records."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from kepler_train.contract.runs import RunRecord
from kepler_train.report import plots
from kepler_train.report.words import many, percent

MOST_RUNS = 60
"""Drawn: two months of nights, at one request each."""


@dataclass(frozen=True)
class HistoryRow:
    """The errors of what was served under one name, oldest to newest."""

    model_name: str
    first_percent: float
    last_percent: float
    plot: Markup


@dataclass(frozen=True)
class History:
    """A feature group's models, on one axis of time; each model's errors from 0 to its largest."""

    since: datetime
    until: datetime
    rows: tuple[HistoryRow, ...]

    @property
    def ends(self) -> tuple[str, str]:
        """Both ends of the axis of time, as briefly as tells them apart."""
        far = self.since.year != self.until.year
        form = "%b %Y" if far else "%H:%M" if self.since.date() == self.until.date() else "%d %b"
        return f"{self.since:{form}}", f"{self.until:{form}}"


def history_of(names: Sequence[str], runs: Sequence[RunRecord]) -> History | None:
    """Draw the errors of models, `Group/model`, over runs, oldest first; None where there was one run at most."""
    told = [run for run in runs if any(name in run.errors for name in names)]
    if len(told) < 2:
        return None
    span = told[0].ended, told[-1].ended
    rows = (_row(name, [run for run in told if name in run.errors], span) for name in names)
    return History(*span, tuple(row for row in rows if row))


def _row(name: str, runs: Sequence[RunRecord], span: tuple[datetime, datetime]) -> HistoryRow | None:
    if not runs:
        return None
    errors = [run.errors[name] for run in runs]
    highest = max(error.mape_percent for error in errors) or 1.0
    versions = ["", *(error.version for error in errors)]
    points = [
        (_position(run.ended, span), error.mape_percent / highest, before != after)
        for run, error, (before, after) in zip(runs, errors, itertools.pairwise(versions), strict=True)
    ]
    first, last = errors[0].mape_percent, errors[-1].mape_percent
    spoken = f"Error of {name} over {many(len(runs), 'run')}: {percent(first)} at first, {percent(last)} last"
    return HistoryRow(name.partition("/")[2], first, last, plots.error_history(points, spoken))


def _position(time: datetime, span: tuple[datetime, datetime]) -> float:
    return (time - span[0]) / (span[1] - span[0]) if span[0] < span[1] else 0.0
