from __future__ import annotations

import pytest

from kepler_train.contract.models import Gate
from kepler_train.evaluate.comparison import Comparison
from kepler_train.evaluate.gates import BEATS_CONSTANT, beats_constant
from kepler_train.evaluate.verdict import reason


def said(candidate, *, constant, best=None, champion=None, noise=10.0, blocks=12, gates=()):
    errors = {"constant": constant, "best constant": constant if best is None else best, "champion": champion}
    comparisons = {
        name: Comparison(name, candidate, error, noise) for name, error in errors.items() if error is not None
    }
    gate = beats_constant(comparisons["constant"], comparisons["best constant"])
    assert gate.name == BEATS_CONSTANT
    return reason(comparisons, (*gates, gate), blocks)


@pytest.mark.parametrize(
    ("sentence", "case"),
    [
        ("3.1 % against 4.0 % for the champion, better by more than noise (±0.4)", {"champion": 4.0}),
        ("3.1 % against 3.0 % for the champion, no difference beyond noise (±0.3)", {"champion": 3.0}),
        ("3.1 % against 2.0 % for the champion, worse by more than noise (±0.2)", {"champion": 2.0}),
        ("3.1 % against 40.0 % for a constant, better by more than noise (±4)", {}),
        (
            (
                "not better than a constant within noise: 3.1 % against 3.2 % for a constant (±0.32); "
                "this group carries almost no signal here"
            ),
            {"constant": 3.2, "champion": 4.0},
        ),
        ("worse than a constant: 3.1 % against 2.0 % for a constant", {"constant": 2.0}),
        (
            "3.1 % against 3.0 % for the best constant there could be: this group carries almost no signal here",
            {"best": 3.0},
        ),
        (
            (
                "3.1 % against 5.0 % for a constant, but 12 held-out blocks are too few to tell that from noise (±3); "
                "use a longer window"
            ),
            {"constant": 5.0, "noise": 60.0},
        ),
        (
            (
                "3.1 % against 40.0 % for a constant, but a single held-out block of 60 s cannot tell improvement from "
                "noise; use a longer window"
            ),
            {"blocks": 1},
        ),
        (
            "3.1 % against 4.0 % for the champion, but the idle is too high",
            {"champion": 4.0, "gates": (Gate("idle", passed=False, detail="the idle is too high"),)},
        ),
    ],
)
def test_the_reason_is_a_sentence_a_person_understands(sentence, case):
    assert said(3.1, **{"constant": 40.0, **case}) == sentence
