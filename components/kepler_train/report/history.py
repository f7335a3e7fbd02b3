"""How far off the models in service were, run after run: each on the held-out rows of its run.

Told by the records that runs on Kubeflow leave, and by versions: each provenance holds its model's error and that of
the champion it replaced, on the same rows.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from kepler_train.contract.errors import KeplerTrainError
from kepler_train.contract.models import Decision
from kepler_train.contract.runs import RunRecord
from kepler_train.report import plots
from kepler_train.report.outcome import full_name
from kepler_train.report.words import many, percent
from kepler_train.store import Store

logger = logging.getLogger("kepler_train")

MOST_RUNS = 60
"""Drawn: two months of nights, at one request each."""
MOST_VERSIONS = 20
"""Read of each model, at three requests each."""


class Point(NamedTuple):
    """A version's error at a time."""

    time: datetime
    version: str
    error_percent: float


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


def points_of(store: Store, decision: Decision, version: str, runs: Sequence[RunRecord]) -> tuple[Point, ...]:
    """Find the errors of a model's champions up to a served version, oldest first; `runs` are the records kept."""
    name = full_name(decision)
    recorded = [
        Point(run.ended, run.errors[name].version, run.errors[name].mape_percent) for run in runs if name in run.errors
    ]
    return tuple(sorted([*recorded, *_points_of_versions(store, decision, version)]))


def _points_of_versions(store: Store, decision: Decision, version: str) -> Iterator[Point]:
    """Follow a version's parents back to the first, or to one that was pruned or is not to be trusted."""
    for _ in range(MOST_VERSIONS):
        if not version:
            return
        try:
            provenance = store.provenance_of(decision.group, decision.model_name, version).provenance
        except KeplerTrainError as cause:
            logger.info("the history of %s ends at %s: %s", full_name(decision), version, cause)
            return
        published, judged = provenance.published, provenance.decision
        if judged.candidate is not None:
            yield Point(published, version, judged.candidate.mape_percent)
        if judged.champion is not None and judged.champion_version == provenance.parent:
            yield Point(published, provenance.parent, judged.champion.mape_percent)
        version = provenance.parent


def history_of(models: Sequence[tuple[str, Sequence[Point]]]) -> History | None:
    """Draw models' points, oldest first, by model name; None where there is one of each at most."""
    if not any(len(points) > 1 for _, points in models):
        return None
    times = [point.time for _, points in models for point in points]
    span = min(times), max(times)
    return History(*span, tuple(_row(name, points, span) for name, points in models if points))


def _row(name: str, points: Sequence[Point], span: tuple[datetime, datetime]) -> HistoryRow:
    highest = max(point.error_percent for point in points) or 1.0
    versions = itertools.pairwise(["", *(point.version for point in points)])
    drawn = [
        (_position(point.time, span), point.error_percent / highest, before != after)
        for point, (before, after) in zip(points, versions, strict=True)
    ]
    first, last = points[0].error_percent, points[-1].error_percent
    champions = sum(is_new for *_, is_new in drawn)
    spoken = f"Error of {name} over {many(champions, 'champion')}: {percent(first)} at first, {percent(last)} last"
    return HistoryRow(name, first, last, plots.error_history(drawn, spoken))


def _position(time: datetime, span: tuple[datetime, datetime]) -> float:
    return (time - span[0]) / (span[1] - span[0]) if span[0] < span[1] else 0.0
