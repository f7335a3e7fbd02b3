"""The sentence that says what was decided and why, for people."""

from __future__ import annotations

from collections.abc import Sequence

from kepler_train.contract.held_out import BLOCK_SECONDS
from kepler_train.contract.models import Gate, Score
from kepler_train.evaluate.comparison import Comparison
from kepler_train.evaluate.gates import BEATS_CONSTANT


def reason(
    comparison: Comparison, against_constant: Comparison, scores: dict[str, Score], gates: Sequence[Gate], blocks: int
) -> str:
    """Say in one sentence how the candidate compares with the reference, and what holds it back where something does.

    `scores` are by model as named in the comparisons, with the candidate's under `candidate`.
    """
    errors = _errors(comparison, scores)
    contradiction = next((gate.detail for gate in gates if not gate.passed and gate.name != BEATS_CONSTANT), "")
    if contradiction:
        return f"{errors}, but {contradiction}"
    if blocks < 2:
        return (
            f"{errors}, but a single held-out block of {BLOCK_SECONDS} s cannot tell improvement from noise; "
            "use a longer window"
        )
    if against_constant.worse:
        return f"worse than a constant: {_errors(against_constant, scores)}"
    if not against_constant.improved:
        return (
            f"not better than a constant within noise: {_errors(against_constant, scores)} "
            f"({_noise(against_constant, scores)}); this group carries almost no signal here"
        )
    if comparison.improved:
        outcome = "better by more than noise"
    else:
        outcome = "worse by more than noise" if comparison.worse else "no difference beyond noise"
    return f"{errors}, {outcome} ({_noise(comparison, scores)})"


def _errors(comparison: Comparison, scores: dict[str, Score]) -> str:
    candidate, reference = scores["candidate"].mape_percent, scores[comparison.reference].mape_percent
    named = "the champion" if comparison.reference == "champion" else f"a {comparison.reference}"
    return f"{candidate:.1f} % against {reference:.1f} % for {named}"


def _noise(comparison: Comparison, scores: dict[str, Score]) -> str:
    """The noise in points of MAPE."""
    return f"±{max(0.01, comparison.noise_percent / 100 * scores[comparison.reference].mape_percent):.2g}"
