"""How the errors of a model's champions went, as far as the store still tells: the line of versions behind the served.

Every version's provenance holds its own error and that of the champion it replaced, on the same rows: so each
champion's error is known when it came and when it was replaced. Runs that replaced nothing leave no version.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from kepler_train.contract.errors import KeplerTrainError
from kepler_train.contract.models import Decision, Score
from kepler_train.report import plots
from kepler_train.report.outcome import full_name
from kepler_train.report.words import many, percent
from kepler_train.store import Store

logger = logging.getLogger("kepler_train")

MOST_CHAMPIONS = 20
"""Read of each model: what a plot can show, at three requests each."""


class Tenure(NamedTuple):
    """One champion's time in service; errors in percent, each on the held-out rows of its run."""

    since: datetime
    error_percent: float
    until: datetime | None = None
    """When it was replaced, or now; None where its error was not measured then."""
    last_error_percent: float = 0.0


@dataclass(frozen=True)
class HistoryRow:
    """The errors of one model's champions, oldest to newest."""

    model_name: str
    first_percent: float
    last_percent: float
    plot: Markup


@dataclass(frozen=True)
class History:
    """A feature group's champions, on one axis of time; each model's errors from 0 to its largest."""

    since: datetime
    until: datetime
    rows: tuple[HistoryRow, ...]

    @property
    def ends(self) -> tuple[str, str]:
        """Both ends of the axis of time, as briefly as tells them apart."""
        far = self.since.year != self.until.year
        form = "%b %Y" if far else "%H:%M" if self.since.date() == self.until.date() else "%d %b"
        return f"{self.since:{form}}", f"{self.until:{form}}"


def read_tenures(store: Store, decision: Decision, version: str, now: datetime) -> tuple[Tenure, ...]:
    """Follow a served version's parents back to the first, or to one that was pruned or is not to be trusted."""
    tenures: list[Tenure] = []
    until, last = now, decision.champion if version == decision.champion_version else None
    while version and len(tenures) < MOST_CHAMPIONS:
        try:
            provenance = store.provenance_of(decision.group, decision.model_name, version).provenance
        except KeplerTrainError as cause:
            logger.info("the history of %s ends at %s: %s", full_name(decision), version, cause)
            break
        published, judged = provenance.published, provenance.decision
        if judged.candidate is None:
            break
        tenures.append(_tenure(published, judged.candidate, until, last))
        until, last = published, judged.champion if judged.champion_version == provenance.parent else None
        version = provenance.parent
    return tuple(reversed(tenures))


def _tenure(since: datetime, first: Score, until: datetime, last: Score | None) -> Tenure:
    if last is None:
        return Tenure(since, first.mape_percent)
    return Tenure(since, first.mape_percent, max(until, since), last.mape_percent)


def history_of(models: Sequence[tuple[str, tuple[Tenure, ...]]]) -> History | None:
    """Draw the champions of a group's models; None where each was measured only once."""
    drawn = [(name, tenures) for name, tenures in models if tenures]
    if not any(len(tenures) > 1 or tenures[0].until for _, tenures in drawn):
        return None
    times = [time for _, tenures in drawn for one in tenures for time in (one.since, one.until) if time]
    span = min(times), max(times)
    return History(*span, tuple(_row(name, tenures, span) for name, tenures in drawn))


def _row(name: str, tenures: tuple[Tenure, ...], span: tuple[datetime, datetime]) -> HistoryRow:
    highest = max(max(one.error_percent, one.last_error_percent) for one in tenures) or 1.0
    first, newest = tenures[0].error_percent, tenures[-1]
    last = newest.error_percent if newest.until is None else newest.last_error_percent
    spoken = f"Error of {name} over {many(len(tenures), 'champion')}: {percent(first)} at first, {percent(last)} last"
    lines = [
        (
            _position(one.since, span),
            one.error_percent / highest,
            _position(one.until or one.since, span),
            (one.error_percent if one.until is None else one.last_error_percent) / highest,
        )
        for one in tenures
    ]
    return HistoryRow(name, first, last, plots.champion_lines(lines, spoken))


def _position(time: datetime, span: tuple[datetime, datetime]) -> float:
    return (time - span[0]) / (span[1] - span[0]) if span[0] < span[1] else 0.0
