"""What became of each candidate, as the one word people read, and the run's headline in one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import Enum

from kepler_train.contract.models import BEATS_CONSTANT, Decision, Score


class Outcome(str, Enum):
    """What became of a candidate; the value is the badge's text."""

    REPLACED = "replaced"
    FIRST = "first published"
    UNSERVED = "better but not served"
    KEPT = "kept"
    WITHHELD = "not published"
    CONSTANT = "no better than a constant"
    FAILED = "failed"

    @property
    def meaning(self) -> str:
        """What the word says about the store."""
        return _MEANINGS[self]


_MEANINGS = {
    Outcome.REPLACED: "the candidate takes the champion's place",
    Outcome.FIRST: "first model served under this name",
    Outcome.UNSERVED: "it was to be published, and the store does not serve it",
    Outcome.KEPT: "the champion stays",
    Outcome.WITHHELD: "nothing is served under this name",
    Outcome.CONSTANT: "the features tell too little about power",
    Outcome.FAILED: "no usable candidate came out of training",
}


def full_name(decision: Decision) -> str:
    """Name a pipeline for people: `CounterOnly/additive-spline`."""
    return f"{decision.group.value}/{decision.model_name}"


def constant_of(decision: Decision) -> Score | None:
    """The score of the best trivial baseline, or None where none was scored."""
    return min(decision.baselines.values(), key=lambda score: score.mape_percent, default=None)


def outcome_of(decision: Decision) -> Outcome:
    """Tell what became of a candidate."""
    if decision.failed:
        return Outcome.FAILED
    if decision.improved:
        return Outcome.REPLACED if decision.champion_version else Outcome.FIRST
    if not _beats_constant(decision):
        return Outcome.CONSTANT
    return Outcome.KEPT if decision.champion_version else Outcome.WITHHELD


def _beats_constant(decision: Decision) -> bool:
    """Tell whether the gate of that name was passed; of one block nothing can be told, so it counts as passed."""
    gates = {gate.name: gate.passed for gate in decision.gates}
    return gates.get(BEATS_CONSTANT, True) or len(decision.blocks) < 2


def headline(results: Sequence[tuple[Decision, Outcome]], taken_back: int = 0) -> tuple[str, str]:
    """Say what the run changed, in one sentence of two parts: the counts, and what failed (empty if nothing did).

    `taken_back` is the number of champions that were.
    """
    counts = Counter(outcome for _, outcome in results)
    phrases: list[str] = []
    for outcome in Outcome:
        if counts[outcome]:
            number = f"{counts[outcome]}" if phrases else _first_number(counts[outcome], len(results))
            phrases.append(f"{number} {outcome.value}")
    if taken_back:
        phrases.append(f"{taken_back} former champion{'s' if taken_back > 1 else ''} taken back")
    failed = [decision for decision, outcome in results if outcome is Outcome.FAILED]
    return ", ".join(phrases) or "No model was evaluated", _failures(failed)


def _first_number(count: int, total: int) -> str:
    if count == total > 1:
        return f"All {total} models"
    return f"{count} of {total} model{'s' if total > 1 else ''}"


def _failures(failed: Sequence[Decision]) -> str:
    if len(failed) == 1:
        return f"{full_name(failed[0])} — {failed[0].reason}"
    listed = ", ".join(full_name(decision) for decision in failed[:3])
    return listed + (f" and {len(failed) - 3} more" if len(failed) > 3 else "")
