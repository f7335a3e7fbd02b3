"""What the window tells each feature group, and what it cannot tell, for the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kepler_train.contract.evidence import IdleSource, SplitEvidence, SplitVerdict
from kepler_train.contract.models import Candidate
from kepler_train.report.evidence import GUIDE, idle_summary, split_sentences
from kepler_train.report.leaderboard import GroupBoard
from kepler_train.report.outcome import Outcome
from kepler_train.report.words import many


@dataclass(frozen=True)
class Told:
    """What the window tells one feature group."""

    group: str
    split: SplitEvidence | None
    idle: str


def told(boards: Sequence[GroupBoard]) -> list[Told]:
    """Collect what the window tells each group that has a candidate."""
    rows = []
    for board in boards:
        candidate = _candidate(board)
        if candidate:
            rows.append(Told(board.group.value, candidate.split_evidence, idle_summary(candidate)))
    return rows


def warnings(boards: Sequence[GroupBoard]) -> list[str]:
    """Say at the top what the window cannot tell groups that carry signal: the split, or idle."""
    guessed: dict[str, list[str]] = {}
    extrapolated: dict[str, list[str]] = {}
    for board in boards:
        candidate = _candidate(board)
        if candidate is None or {entry.outcome for entry in board.entries} <= {Outcome.CONSTANT, Outcome.FAILED}:
            continue
        if candidate.split_evidence and candidate.split_evidence.verdict is SplitVerdict.GUESS:
            guessed.setdefault(" ".join(split_sentences(candidate.split_evidence)[:-1]), []).append(board.group.value)
        sources = [evidence.source for evidence in candidate.idle_evidence.values()]
        resting = sources.count(IdleSource.EXTRAPOLATED)
        if resting:
            of_all = f"{resting} of {many(len(sources), 'node')} never rest"
            extrapolated.setdefault(of_all, []).append(board.group.value)
    said = [f"{sentence} ({', '.join(groups)})" for sentence, groups in guessed.items()]
    said += [
        f"{fact}, so their idle energy is extrapolated, and may be far off. ({', '.join(groups)})"
        for fact, groups in extrapolated.items()
    ]
    return [*said[:-1], f"{said[-1]} {GUIDE}"] if said else []


def _candidate(board: GroupBoard) -> Candidate | None:
    """The group's best candidate that was trained."""
    trained = (entry.candidate for entry in board.entries if entry.candidate and entry.candidate.idle_millijoules)
    return next(trained, None)
