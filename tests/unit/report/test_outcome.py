"""One word for what became of a candidate, one sentence for the run, and the figures beside an evaluation."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from kepler_train.contract.errors import PipelineError
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import BEATS_CONSTANT, BlockScore, Decision, Gate, Score
from kepler_train.contract.runs import RunRecord
from kepler_train.report import verdict
from kepler_train.report.evaluation import metrics
from kepler_train.report.outcome import Outcome, headline, outcome_of
from kepler_train.store import open_store

KUBEFLOWS = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"


def score(error: float) -> Score:
    return Score(
        mae_millijoules=1e4, mse_millijoules2=1e9, mape_percent=error, bias_percent=-0.4, busy_mape_percent=error / 2
    )


def decision(name="linear", candidate=3.0, champion=4.0, beats_constant=True, blocks=2, **other) -> Decision:
    return Decision(
        run_id="r",
        group=FeatureGroup.BPF_ONLY,
        model_name=name,
        model_class="scikit",
        improved=other.pop("improved", False),
        reason=other.pop("reason", "because"),
        candidate=None if candidate is None else score(candidate),
        champion=None if champion is None else score(champion),
        champion_version="" if champion is None else "v1",
        baselines={"zero": score(100.0), "constant": score(40.0)},
        noise_percent=5.0,
        gates=(Gate(name="idle", passed=False, detail=""), Gate(name=BEATS_CONSTANT, passed=beats_constant, detail="")),
        blocks=(BlockScore(0, 20, 1.0, 3.0, 4.0),) * blocks,
        **other,
    )


@pytest.mark.parametrize(
    ("decided", "outcome"),
    [
        (decision(improved=True), Outcome.REPLACED),
        (decision(improved=True, champion=None), Outcome.FIRST),
        (decision(), Outcome.KEPT),
        (decision(champion=None), Outcome.WITHHELD),
        (decision(candidate=None, champion=None, failed=True), Outcome.FAILED),
        (decision(beats_constant=False), Outcome.CONSTANT),
        (decision(beats_constant=False, champion=None), Outcome.CONSTANT),
        (decision(beats_constant=False, blocks=1), Outcome.KEPT),
        (decision(candidate=None), Outcome.KEPT),
    ],
)
def test_outcome(decided, outcome):
    assert outcome_of(decided) is outcome


def sentence(*decisions):
    return headline([(one, outcome_of(one)) for one in decisions])


def test_headline_counts_in_the_order_of_what_matters():
    assert sentence(decision(), decision(), decision(improved=True)) == ("1 of 3 models replaced, 2 kept", "")


def test_headline_of_one_outcome_says_all():
    assert sentence(decision(), decision())[0] == "All 2 models kept"
    assert sentence(decision())[0] == "1 of 1 model kept"


def test_headline_gives_the_reason_of_one_failure_and_the_names_of_many():
    failed = [decision(f"m{n}", candidate=None, failed=True, reason="no rows") for n in range(5)]

    assert sentence(failed[0], decision())[1] == "BPFOnly/m0 — no rows"
    assert sentence(*failed)[1] == "BPFOnly/m0, BPFOnly/m1, BPFOnly/m2 and 2 more"


def test_metrics_are_numbers_and_the_decision():
    figures = metrics(decision(improved=True, improvement_percent=25.0))

    assert figures == {
        "decision": "replaced",
        "candidate_error_percent": 3.0,
        "champion_error_percent": 4.0,
        "constant_error_percent": 40.0,
        "candidate_busy_error_percent": 1.5,
        "candidate_bias_percent": -0.4,
        "improvement_percent": 25.0,
        "improvement_noise_percent": 5.0,
    }


def test_metrics_of_a_failure_leave_out_what_is_not_known():
    assert metrics(decision(candidate=None, champion=None, failed=True)) == {
        "decision": "failed",
        "constant_error_percent": 40.0,
    }


def test_the_run_ends_red_naming_what_failed_and_only_then(tmp_path):
    ended = datetime(2026, 11, 23, 3, tzinfo=timezone.utc)
    green = RunRecord(run_id="20261122T020000Z-1a", ended=ended)
    red = RunRecord(run_id="20261123T020000Z-2b", ended=ended, failed=("A/x", "B/y"))
    verdict.run(green, str(tmp_path), KUBEFLOWS)

    with pytest.raises(PipelineError, match=r"2 training pipelines failed: A/x, B/y;"):
        verdict.run(red, str(tmp_path), KUBEFLOWS)
    assert list(open_store(str(tmp_path)).runs(10)) == [red, green]


def test_a_run_on_one_machine_leaves_the_store_as_it_was(tmp_path):
    ended = datetime(2026, 11, 22, 3, tzinfo=timezone.utc)
    verdict.run(RunRecord(run_id="20261122T020000Z-1a", ended=ended), str(tmp_path), "20261122T020000123456")
    assert list(tmp_path.iterdir()) == []
