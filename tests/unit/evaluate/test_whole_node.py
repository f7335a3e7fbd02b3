"""Judging the model of the whole node beside the model of pods."""

from __future__ import annotations

import numpy as np
import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import NODE_MODEL_FOLDER, read_decision
from kepler_train.evaluate.step import run
from tests.unit.assemble.windows import IDLE_MILLIJOULES, MILLIJOULES_PER_CPU_MILLISECOND
from tests.unit.estimators.models import Keeps, Predicts, linear, write_model
from tests.unit.evaluate.candidates import BPF, NAME, held_out_part, noisy_node, write_candidate

CPU_TIME = FeatureGroup.FULL.features.index("curr_cpu_time")


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    return held_out_part(tmp_path_factory.mktemp("part"), noisy_node(intervals=1000, noise=0.02))


@pytest.fixture
def judge(tmp_path, part):
    """Evaluate a candidate of true pods with this model of the whole node."""

    def give(model, part=part, group=BPF, pods=None, **options):
        candidate = write_candidate(tmp_path / "candidate", pods, group=group, **options)
        scaler = options.get("scaler")
        write_model(candidate / NODE_MODEL_FOLDER, model, scaler=scaler, features=group.features, model_name=NAME)
        return run(candidate, part, str(tmp_path / "store"), tmp_path / "decision")

    return give


def true_node():
    return linear([MILLIJOULES_PER_CPU_MILLISECOND], IDLE_MILLIJOULES)


def test_it_is_asked_with_the_sum_of_the_pods_and_scored_against_the_node(tmp_path, judge):
    decision = judge(true_node())
    assert decision.improved
    assert decision.whole_node.usable
    assert decision.whole_node.score.mape_percent == pytest.approx(decision.candidate.mape_percent)
    assert decision.whole_node.constant.mape_percent == pytest.approx(decision.baselines["constant"].mape_percent)
    assert "for one constant for all nodes, better by more than noise" in decision.whole_node.reason
    assert read_decision(tmp_path / "decision") == decision


def test_a_candidate_without_one_is_judged_as_before(tmp_path, part):
    decision = run(write_candidate(tmp_path / "candidate"), part, str(tmp_path / "store"), tmp_path / "decision")
    assert decision.improved
    assert decision.whole_node is None


def raises(_rows):
    raise ValueError("no such node")


def only_what_was_seen(rows):
    """What is right in the held-out part, and infinite for a node that does ten times as much."""
    work = MILLIJOULES_PER_CPU_MILLISECOND * rows[:, 0]
    return np.where(work > 3 * IDLE_MILLIJOULES, np.inf, IDLE_MILLIJOULES + work)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (linear([0.0], 1.3 * IDLE_MILLIJOULES), "not better than noise"),
        (Predicts(raises), "no such node"),
        (Predicts(only_what_was_seen), "infinity"),
    ],
)
def test_one_that_is_of_no_use_does_not_keep_the_model_of_pods_back(judge, model, said):
    decision = judge(model)
    assert decision.improved
    assert not decision.whole_node.usable
    assert said in decision.whole_node.reason


def test_the_constant_is_one_for_all_nodes(tmp_path, judge):
    """A node that uses twice as much has a mean of its own, which no estimator on an unknown node could know."""
    idle = {"node1": IDLE_MILLIJOULES, "node2": 2 * IDLE_MILLIJOULES}
    nodes = [noisy_node(node, idle=value, intervals=1000, seed=seed) for seed, (node, value) in enumerate(idle.items())]
    decision = judge(true_node(), held_out_part(tmp_path / "two", *nodes), idle=idle)
    assert decision.whole_node.constant.mape_percent > 1.5 * decision.baselines["constant"].mape_percent


def pods_of_broadwell(rows):
    return np.array([MILLIJOULES_PER_CPU_MILLISECOND * row[CPU_TIME] * (row[-1] == "Broadwell") for row in rows])


def node_of_broadwell(rows):
    return pods_of_broadwell(rows) + np.array([IDLE_MILLIJOULES * (row[-1] == "Broadwell") for row in rows])


def test_the_architecture_reaches_a_model_of_the_full_group(tmp_path, judge):
    part = held_out_part(tmp_path / "full", noisy_node(intervals=1000), group=FeatureGroup.FULL)
    models = {"pods": Predicts(pods_of_broadwell), "scaler": Keeps()}
    decision = judge(Predicts(node_of_broadwell), part, FeatureGroup.FULL, **models)
    assert decision.improved
    assert decision.whole_node.usable, decision.whole_node.reason


class Remembers:
    """A model whose every answer is a little more than the one before."""

    calls = 0

    def predict(self, rows):
        Remembers.calls += 1
        return MILLIJOULES_PER_CPU_MILLISECOND * rows[:, 0] + 1e-3 * Remembers.calls


def test_a_model_that_answers_otherwise_from_an_archive_fails(tmp_path, part):
    candidate = write_candidate(tmp_path / "candidate", Remembers())
    decision = run(candidate, part, str(tmp_path / "store"), tmp_path / "decision")
    assert decision.failed
    assert "both have to be the same model" in decision.reason
    assert [(gate.name, gate.passed) for gate in decision.gates][-1] == ("answers from an archive", False)
