"""A champion that is new since the last run, beside the version it replaced, on rows that neither was judged by."""

from __future__ import annotations

import shutil

import pytest

from kepler_train.contract.models import read_decision
from kepler_train.evaluate import step
from tests.unit.evaluate.candidates import held_out_part, serve, true_model, version_folder, write_candidate


@pytest.fixture
def judge(tmp_path):
    """Serve two versions after each other, and judge a candidate with a canary."""
    part = held_out_part(tmp_path)

    def judge(before, now, candidate, *, canary=True, new=True, parent="v1", break_candidate=False):
        store = tmp_path / "store"
        serve(store, write_candidate(tmp_path / "before", true_model(before)), "v1")
        serve(store, write_candidate(tmp_path / "now", true_model(now)), "v2", parent=parent, new=new)
        folder = write_candidate(tmp_path / "candidate", true_model(candidate))
        if break_candidate:
            (folder / "model" / "model.sav").write_bytes(b"nothing")
        return step.run(folder, part, str(store), tmp_path / "decision", canary=canary)

    return judge


def test_a_new_champion_that_is_worse_is_taken_back_and_the_candidate_is_compared_with_the_one_before(judge, tmp_path):
    decision = judge(before=0.98, now=0.8, candidate=0.9)
    canary = decision.canary
    assert (canary.version, canary.before, canary.worse) == ("v2", "v1", True)
    assert canary.score.mape_percent > canary.before_score.mape_percent
    assert decision.champion_version == "v1"
    assert decision.champion.mape_percent == pytest.approx(canary.before_score.mape_percent)
    assert not decision.improved, "better than v2, but not than v1"
    assert "v2 is worse than v1, which it replaced" in decision.reason
    assert decision.reason.endswith("and is taken back")
    assert read_decision(tmp_path / "decision") == decision


def test_a_candidate_that_beats_the_one_before_takes_its_place(judge):
    decision = judge(before=0.9, now=0.8, candidate=1.0)
    assert decision.canary.worse
    assert decision.improved
    assert decision.champion_version == "v1"


@pytest.mark.parametrize("before", [0.8, 0.9995])
def test_a_new_champion_that_is_not_worse_by_more_than_noise_stays(judge, before):
    decision = judge(before=before, now=1.0, candidate=0.9)
    assert not decision.canary.worse
    assert not decision.canary.problem
    assert decision.champion_version == "v2"
    assert "taken back" not in decision.reason


def test_it_is_found_out_even_where_the_candidate_failed(judge):
    decision = judge(before=0.98, now=0.8, candidate=1.0, break_candidate=True)
    assert decision.failed
    assert decision.canary.worse
    assert decision.champion_version == "v1"


@pytest.mark.parametrize("options", [{"canary": False}, {"new": False}, {"parent": ""}])
def test_nothing_is_compared_where_nobody_asked_or_nothing_is_new(judge, options):
    decision = judge(before=0.98, now=0.8, candidate=0.9, **options)
    assert decision.canary is None
    assert decision.champion_version == "v2"
    assert decision.improved


@pytest.mark.parametrize("loss", ["gone", "damaged"])
def test_a_version_before_that_cannot_be_used_leaves_the_champion_and_is_said(tmp_path, loss):
    part, store = held_out_part(tmp_path), tmp_path / "store"
    serve(store, write_candidate(tmp_path / "before", true_model(0.98)), "v1")
    serve(store, write_candidate(tmp_path / "now", true_model(0.8)), "v2", parent="v1", new=True)
    if loss == "gone":
        shutil.rmtree(version_folder(store, "v1"))
    else:
        (version_folder(store, "v1") / "model.sav").unlink()
    candidate = write_candidate(tmp_path / "candidate", true_model(0.9))
    decision = step.run(candidate, part, str(store), tmp_path / "decision", canary=True)
    assert decision.canary.problem.startswith("v1 could not be used: ")
    assert not decision.canary.worse
    assert decision.champion_version == "v2"
    assert "could not be compared with the version before it" in decision.reason
