"""The sentence that says what was decided and why, for people."""

from __future__ import annotations

from collections.abc import Sequence

from kepler_train.contract.held_out import BLOCK_SECONDS
from kepler_train.contract.models import Gate
from kepler_train.evaluate.comparison import Comparison
from kepler_train.evaluate.gates import BEATS_CONSTANT
from kepler_train.evaluate.scores import BEST_CONSTANT, CHAMPION, CONSTANT

NOTABLE_PERCENT = 10.0
"""An improvement on a constant that would be worth having, if only it were sure."""

_NAMED = {CHAMPION: "the champion", CONSTANT: "a constant", BEST_CONSTANT: "the best constant there could be"}


def reason(comparisons: dict[str, Comparison], gates: Sequence[Gate], blocks: int) -> str:
    """Say in one sentence how the candidate compares, by what it is compared with, and what holds it back."""
    deciding = comparisons.get(CHAMPION, comparisons[CONSTANT])
    contradiction = next((gate.detail for gate in gates if not gate.passed and gate.name != BEATS_CONSTANT), "")
    if blocks >= 2 and any(not gate.passed and gate.name == BEATS_CONSTANT for gate in gates):
        said = _no_better_than_a_constant(comparisons[CONSTANT], comparisons[BEST_CONSTANT], blocks)
        return f"{said}; besides, {contradiction}" if contradiction else said
    if contradiction:
        return f"{_errors(deciding)}, but {contradiction}"
    if blocks < 2:
        alone = f"a single held-out block of {BLOCK_SECONDS} s cannot tell improvement from noise"
        return f"{_errors(deciding)}, but {alone}; use a longer window"
    if deciding.improved:
        outcome = "better by more than noise"
    else:
        outcome = "worse by more than noise" if deciding.worse else "no difference beyond noise"
    return f"{_errors(deciding)}, {outcome} ({_noise(deciding)})"


def _no_better_than_a_constant(constant: Comparison, best_constant: Comparison, blocks: int) -> str:
    if constant.worse:
        return f"worse than a constant: {_errors(constant)}"
    if constant.improved:
        return f"{_errors(best_constant)}: this group carries almost no signal here"
    if constant.improvement_percent > NOTABLE_PERCENT:
        few = f"{blocks} held-out blocks are too few to tell that from noise"
        return f"{_errors(constant)}, but {few} ({_noise(constant)}); use a longer window"
    return (
        f"not better than a constant within noise: {_errors(constant)} ({_noise(constant)}); "
        "this group carries almost no signal here"
    )


def _errors(comparison: Comparison) -> str:
    candidate, reference = comparison.candidate_mape_percent, comparison.reference_mape_percent
    return f"{candidate:.1f} % against {reference:.1f} % for {_NAMED[comparison.reference]}"


def _noise(comparison: Comparison) -> str:
    """The noise in points of MAPE."""
    return f"±{max(0.01, comparison.noise_percent / 100 * comparison.reference_mape_percent):.2g}"
