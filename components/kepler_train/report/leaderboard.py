"""The leaderboard's contents: entries by feature group, the best of each, and what was set apart from the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Score
from kepler_train.contract.parts import Part
from kepler_train.contract.tables import NODE_STAT
from kepler_train.contract.window import WindowSummary
from kepler_train.report.entries import Entry, NodePlot
from kepler_train.report.history import History, history_of
from kepler_train.report.outcome import Outcome
from kepler_train.report.trace import MEASURED
from kepler_train.report.words import GROUP_WORDS, many, reason_words, table_words


@dataclass(frozen=True)
class GroupBoard:
    """One feature group's pipelines, best first, those that failed last."""

    group: FeatureGroup
    part: Part | None
    entries: tuple[Entry, ...]
    ended: datetime
    """When the run was judged."""

    @property
    def about(self) -> str:
        """What the group's models look at."""
        return GROUP_WORDS[self.group]

    @property
    def best(self) -> Entry | None:
        """The entry that is best in service; None where the group serves nothing that was scored."""
        served = [entry for entry in self.entries if entry.served_score]
        return min(served, key=_served_error, default=None)

    @property
    def in_service(self) -> str:
        """Name the best in service; without one, say what else is served."""
        if self.best:
            return self.best.decision.model_name
        unscored = [entry.decision.model_name for entry in self.entries if entry.unscored_version]
        return f"{', '.join(unscored)} (not scored)" if unscored else "none"

    @property
    def before(self) -> Score | None:
        """The score of the group's best champion before this run."""
        champions = [entry.decision.champion for entry in self.entries if entry.decision.champion]
        return min(champions, key=lambda score: score.mape_percent, default=None)

    @property
    def node_plots(self) -> list[NodePlot]:
        """Measured and predicted power, of the best in service, else of the best candidate."""
        shown = self.best or next((entry for entry in self.entries if entry.trace), None)
        return shown.node_plots(((MEASURED, "measured"), (shown.shown_column, "candidate"))) if shown else []

    @property
    def shown_name(self) -> str:
        """The model whose power is plotted, as the plot's title says it."""
        if self.best is None:
            return f"{self.entries[0].decision.model_name} (not published)"
        return self.best.decision.model_name

    @property
    def history(self) -> History | None:
        """The errors of the group's models in service over the runs, this one too; None before a second one."""
        return history_of([(entry.decision.model_name, entry.history(self.ended)) for entry in self.entries])

    @property
    def without_signal(self) -> str:
        """Say which features carry no signal, and whether the whole group does; empty where all do."""
        outcomes = {entry.outcome for entry in self.entries} - {Outcome.FAILED}
        sentences = []
        if outcomes == {Outcome.CONSTANT}:
            sentences.append(
                "No model of this group is better than a constant: its features say too little about power."
            )
        if self.part and self.part.without_signal:
            listed = ", ".join(self.part.without_signal)
            features = many(len(self.part.without_signal), "feature")
            sentences.append(f"{features} held a single value in the whole training part: {listed}.")
        return " ".join(sentences)


def boards_of(entries: Sequence[Entry], parts: Sequence[Part], ended: datetime) -> list[GroupBoard]:
    """Sort entries into their groups, in the order in which the groups are declared."""
    part_of = {part.group: part for part in parts}
    return [
        GroupBoard(group, part_of.get(group), tuple(sorted(members, key=_candidate_error)), ended)
        for group in FeatureGroup
        if (members := [entry for entry in entries if entry.decision.group is group])
    ]


def _candidate_error(entry: Entry) -> tuple[bool, float, str]:
    candidate = entry.decision.candidate
    return (candidate is None, candidate.mape_percent if candidate else 0.0, entry.name)


def _served_error(entry: Entry) -> float:
    return entry.served_score.mape_percent if entry.served_score else float("inf")


@dataclass(frozen=True)
class SetApart:
    """Samples or node intervals that were read but not used, for one reason."""

    reason: str
    scope: str
    """What is counted, and for which groups."""
    count: int
    whole: int


def set_apart(window: WindowSummary, parts: Sequence[Part]) -> list[SetApart]:
    """List what was set apart: samples while the window was read, node intervals while the groups were assembled."""
    listed = [
        SetApart(reason_words(reason), table_words(table), count, sum(reasons.values()) + window.rows.get(table, 0))
        for table, reasons in window.set_apart.items()
        for reason, count in reasons.items()
    ]
    groups_of: dict[tuple[str, int], list[str]] = {}
    for part in parts:
        for reason, count in part.set_apart.items():
            groups_of.setdefault((reason, count), []).append(part.group.value)
    intervals = window.rows.get(NODE_STAT, 0)
    for (reason, count), groups in groups_of.items():
        scope = "node intervals" + ("" if len(groups) == len(parts) else f", {', '.join(groups)}")
        listed.append(SetApart(reason_words(reason), scope, count, max(intervals, count)))
    return sorted((row for row in listed if row.count), key=lambda row: -row.count)


def notes_of(parts: Sequence[Part]) -> dict[str, list[str]]:
    """List what assembly noted, and about which groups."""
    notes: dict[str, list[str]] = {}
    for part in parts:
        for note in part.notes:
            notes.setdefault(note, []).append(part.group.value)
    return notes
