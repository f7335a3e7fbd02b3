"""What a window can and cannot tell, in words: how sure idle energies are, and how well the split is determined."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kepler_train.contract.evidence import IdleEvidence, IdleSource, SplitEvidence, SplitVerdict
from kepler_train.contract.models import Candidate
from kepler_train.report.words import figure, many

_MOST_NODES_LISTED = 8
_LEAST_SURE_LISTED = 5
GUIDE = "What to record, docs/what-to-record.md, says which windows help."

_SOURCES = {
    IdleSource.QUIET: "quiet intervals",
    IdleSource.FURTHER: "a further window",
    IdleSource.EXTRAPOLATED: "extrapolated, never rests",
}
_UNSAID = "the training pipeline"

_VERDICTS = {
    SplitVerdict.DETERMINED: "Workloads vary independently: the data determine how nodes' energy splits among pods.",
    SplitVerdict.PARTLY: "Workloads move together much of the time: the sum is right, the split is partly a guess.",
    SplitVerdict.GUESS: "Workloads always move together, or hardly vary: the sum is right, the split is a guess.",
    SplitVerdict.UNKNOWN: "These features follow nodes' energy too loosely to tell whether the split is determined.",
}


@dataclass(frozen=True)
class IdleRow:
    """One node's idle energy per interval as fitted, its interval, what tells it, and the least that was measured."""

    node: str
    idle_millijoules: float
    evidence: IdleEvidence | None
    lowest_millijoules: float | None

    @property
    def told_by(self) -> str:
        """What tells the value."""
        return _SOURCES[self.evidence.source] if self.evidence else _UNSAID

    @property
    def spread(self) -> float:
        """The width of the interval, relative to the value; the less is said the wider."""
        if self.evidence is None or not self.idle_millijoules:
            return float("inf")
        return (self.evidence.high_millijoules - self.evidence.low_millijoules) / self.idle_millijoules


def idle_rows(candidate: Candidate, lowest: dict[str, float]) -> list[IdleRow]:
    """Idle by node; of many nodes the least sure ones."""
    rows = _rows(candidate, lowest)
    if len(rows) <= _MOST_NODES_LISTED:
        return rows
    return sorted(rows, key=lambda row: -row.spread)[:_LEAST_SURE_LISTED]


def idle_summary(candidate: Candidate) -> str:
    """Count nodes by what tells their idle energies."""
    counts = Counter(row.told_by for row in _rows(candidate, {}))
    return "; ".join(f"{many(count, 'node')}: {told_by}" for told_by, count in counts.most_common())


def _rows(candidate: Candidate, lowest: dict[str, float]) -> list[IdleRow]:
    return [
        IdleRow(node, energy, candidate.idle_evidence.get(node), lowest.get(node))
        for node, energy in sorted(candidate.idle_millijoules.items())
    ]


def split_sentences(split: SplitEvidence) -> list[str]:
    """Say how well the split is determined, by which workloads it is not, and what a condition number says of it."""
    sentences = [_VERDICTS[split.verdict]]
    if split.verdict in {SplitVerdict.GUESS, SplitVerdict.PARTLY}:
        sentences += [f"Together: {', '.join(names)}." for names in split.together]
        sentences += [f"Hardly varying: {', '.join(split.still)}."] if split.still else []
        sentences.append(GUIDE)
    return sentences


def split_figures(split: SplitEvidence) -> str:
    """The condition numbers, over all nodes and of nodes alone."""
    said = f"Condition number {figure(split.condition)} over all nodes (by {split.feature})"
    alone = sorted(split.condition_of_node.items(), key=lambda item: item[1])
    if len(alone) > 1:
        (_, least), (worst, most) = alone[0], alone[-1]
        said += f"; of nodes alone {figure(least)} to {figure(most)}, the most on {worst}"
        short = sum(split.verdict_of(value) is not SplitVerdict.DETERMINED for _, value in alone)
        if split.verdict is SplitVerdict.DETERMINED and short:
            said += f": {many(short, 'node')} alone would not tell, all together do"
    return said + "."
