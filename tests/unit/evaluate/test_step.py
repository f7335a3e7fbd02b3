from __future__ import annotations

import logging
import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.isotonic import IsotonicRegression

from kepler_train.contract.errors import BrokenContract, StoreError, WrongUsage
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.held_out import is_held_out
from kepler_train.contract.models import Decision, Score, checksums_of, read_candidate, read_decision
from kepler_train.contract.parts import interval_batches, read_part
from kepler_train.evaluate.served import prove
from kepler_train.evaluate.step import run
from kepler_train.store.objects import LARGEST_FILE_BYTES
from tests.signing_keys import SIGNING_KEY_FILE, VERIFY_KEYS_FILE, make_key
from tests.unit.assemble.windows import IDLE_MILLIJOULES, MILLIJOULES_PER_CPU_MILLISECOND
from tests.unit.estimators.models import Keeps, Predicts, RunsCodeWhenUnpickled, change_metadata, column_means, linear
from tests.unit.evaluate.candidates import (
    BPF,
    held_out_part,
    noisy_node,
    serve,
    true_model,
    version_folder,
    write_candidate,
)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Ten minutes of one noisy node held out; its window is 50 minutes."""
    return held_out_part(tmp_path_factory.mktemp("part"), noisy_node(intervals=1000))


@pytest.fixture
def judge(tmp_path, part):
    """Evaluate a candidate on the part against the store at `tmp_path / "store"`."""
    return lambda candidate: run(candidate, part, str(tmp_path / "store"), tmp_path / "decision")


def gate(decision, name):
    return next(gate for gate in decision.gates if gate.name == name)


def test_the_first_model_of_a_name_is_measured_against_a_constant(tmp_path, part, judge):
    decision = judge(write_candidate(tmp_path / "candidate"))
    assert decision.improved
    assert not decision.failed
    assert decision.champion is None
    assert decision.champion_version == ""
    assert all(gate.passed for gate in decision.gates)
    assert "for a constant, better by more than noise" in decision.reason
    described = read_part(part)
    assert decision.held_out == {
        "pod_rows": described.pod_rows,
        "node_intervals": described.node_intervals,
        "blocks": described.blocks,
    }
    assert len(decision.blocks) == described.blocks
    assert sum(block.node_intervals for block in decision.blocks) == described.node_intervals


def test_decision_trace_and_candidate_are_left_beside_each_other(tmp_path, part, judge):
    candidate = write_candidate(tmp_path / "candidate")
    decision = judge(candidate)
    out = tmp_path / "decision"
    assert read_decision(out) == decision
    assert read_candidate(out) == read_candidate(candidate)
    trace = pq.read_table(out / "trace.parquet").to_pandas()
    assert len(trace) == decision.held_out["node_intervals"]
    measured = np.concatenate([batch.energy_millijoules for batch in interval_batches(part)])
    np.testing.assert_array_equal(trace["measured_millijoules"], measured)


def naive_score(part, scale, idle):
    """The score of `true_model(scale)` by the definition, interval by interval."""
    rows = []
    for batch in interval_batches(part):
        for i, measured in enumerate(batch.energy_millijoules):
            pods = batch.pods[batch.starts[i] : batch.starts[i + 1], 0]
            rows.append((measured, idle + sum(scale * MILLIJOULES_PER_CPU_MILLISECOND * pod for pod in pods)))
    measured, predicted = np.array(rows).T
    low, high = measured.min(), measured.max()
    level = np.minimum(((measured - low) / (high - low) * 10).astype(int), 9)
    weight = 1 / np.sqrt(np.bincount(level)[level])
    error, busy = predicted - measured, measured >= (low + high) / 2
    return Score(
        mae_millijoules=np.average(abs(error), weights=weight),
        mse_millijoules2=np.average(error**2, weights=weight),
        mape_percent=np.average(100 * abs(error) / measured, weights=weight),
        bias_percent=100 * (error @ weight) / (measured @ weight),
        busy_mape_percent=np.average(100 * abs(error[busy]) / measured[busy], weights=weight[busy]),
    )


def test_scores_are_of_the_sum_over_pods_and_idle_against_the_measured_node(tmp_path, part, judge):
    serve(tmp_path / "store", write_candidate(tmp_path / "champion", true_model(0.8), idle=140_000.0))
    decision = judge(write_candidate(tmp_path / "candidate", true_model(1.1)))
    for found, expected in (
        (decision.candidate, naive_score(part, 1.1, IDLE_MILLIJOULES)),
        (decision.champion, naive_score(part, 0.8, 140_000.0)),
        (decision.baselines["constant"], naive_score(part, 0, read_part(part).nodes["node1"].mean_millijoules)),
    ):
        for key in Score.__struct_fields__:
            assert getattr(found, key) == pytest.approx(getattr(expected, key), rel=1e-9), key


def test_a_better_candidate_takes_the_champions_place_and_a_worse_one_does_not(tmp_path, judge):
    serve(tmp_path / "store", write_candidate(tmp_path / "champion", true_model(0.9)))
    better = judge(write_candidate(tmp_path / "better"))
    assert better.improved
    assert better.champion_version == "v1"
    assert "for the champion, better by more than noise" in better.reason
    assert better.improvement_percent > better.noise_percent > 0
    worse = judge(write_candidate(tmp_path / "worse", true_model(0.8)))
    assert not worse.improved
    assert "worse by more than noise" in worse.reason
    assert gate(worse, "beats a constant").passed


def test_a_candidate_as_good_as_the_champion_leaves_it(tmp_path, judge):
    serve(tmp_path / "store", write_candidate(tmp_path / "champion"))
    for name, model in (("same", true_model()), ("hardly other", true_model(1.0005))):
        decision = judge(write_candidate(tmp_path / name, model))
        assert not decision.improved
        assert "no difference beyond noise" in decision.reason


@pytest.mark.parametrize(("stored_percent", "scale", "improved"), [(0.001, 0.7, True), (90.0, 1.0, False)])
def test_a_stored_score_is_no_evidence(tmp_path, judge, stored_percent, scale, improved):
    champion = write_candidate(tmp_path / "champion", true_model(scale))
    boast = Score(1.0, 1.0, stored_percent, 0.0, stored_percent)
    stored = Decision(
        run_id="run", group=BPF, model_name="spline", model_class="scikit", improved=True, reason="", candidate=boast
    )
    serve(tmp_path / "store", champion, decision=stored)
    decision = judge(write_candidate(tmp_path / "candidate"))
    assert decision.improved is improved
    assert decision.champion.mape_percent != stored_percent


def test_the_champion_of_another_name_is_not_the_reference(tmp_path, judge):
    serve(tmp_path / "store", write_candidate(tmp_path / "champion"))
    decision = judge(write_candidate(tmp_path / "candidate", model_name="network"))
    assert decision.improved
    assert decision.champion is None


def test_a_champion_whose_files_changed_is_named_and_never_opened(tmp_path, judge):
    serve(tmp_path / "store", write_candidate(tmp_path / "champion"))
    file = version_folder(tmp_path / "store") / "model.sav"
    trap = tmp_path / "opened"
    file.chmod(0o644)
    file.write_bytes(pickle.dumps(Trap(trap)))
    decision = judge(write_candidate(tmp_path / "candidate"))
    assert "model.sav" in decision.champion_damage
    assert decision.champion is None
    assert decision.champion_version == "v1"
    assert decision.improved
    assert "the champion v1 could not be used" in decision.reason
    assert not trap.exists()


def test_a_champion_that_no_trusted_key_signed_is_named_and_never_opened(tmp_path, judge, monkeypatch):
    """Whoever can write to the bucket can make checksums and index agree with a pickle of theirs, but not sign it."""
    trap = tmp_path / "opened"
    champion = write_candidate(tmp_path / "champion")
    (champion / "model" / "model.sav").write_bytes(pickle.dumps(Trap(trap)))
    with monkeypatch.context() as attacker:
        attacker.setenv(SIGNING_KEY_FILE, str(make_key(tmp_path)[0]))
        attacker.delenv(VERIFY_KEYS_FILE)
        serve(tmp_path / "store", champion)
    decision = judge(write_candidate(tmp_path / "candidate"))
    assert "models/BPFOnly/spline/v1/provenance.json" in decision.champion_damage
    assert "is signed with the key" in decision.champion_damage
    assert decision.champion is None
    assert not trap.exists()


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def test_a_champion_made_with_other_versions_is_named_and_never_opened(tmp_path, judge):
    trap = tmp_path / "opened"
    champion = write_candidate(
        tmp_path / "champion", RunsCodeWhenUnpickled(trap), runtime={"python": "3.8.1", "sklearn": "0.24.2"}
    )
    serve(tmp_path / "store", champion)
    decision = judge(write_candidate(tmp_path / "candidate"))
    assert decision.improved
    assert decision.champion is None
    assert decision.champion_version == "v1"
    assert decision.champion_damage.startswith("it was made with sklearn 0.24.2 (here ")
    assert decision.reason.endswith("the champion v1 could not be used")
    assert not trap.exists()


def test_nothing_of_another_runtime_is_opened(tmp_path, judge):
    trap = tmp_path / "opened"
    made = write_candidate(tmp_path / "candidate", RunsCodeWhenUnpickled(trap), runtime_name="estimator-2022")
    with pytest.raises(WrongUsage, match=r"this is runtime current .* not estimator-2022"):
        judge(made)
    serve(tmp_path / "store", made)
    with pytest.raises(WrongUsage, match="serves models of runtime estimator-2022, not current"):
        judge(write_candidate(tmp_path / "other"))
    assert not trap.exists()


def test_what_improved_names_the_files_that_an_estimator_served(tmp_path, judge):
    decision = judge(write_candidate(tmp_path / "candidate"))
    assert gate(decision, "served").passed
    assert decision.judged_files == checksums_of(tmp_path / "candidate")
    assert "model/model.sav" in decision.judged_files


def test_a_better_candidate_that_an_estimator_would_not_serve_is_not_published(tmp_path, part, judge):
    candidate = write_candidate(tmp_path / "candidate")
    decision = judge(candidate)
    (candidate / "model" / "model.sav").write_bytes(pickle.dumps(true_model(2.0)))
    (candidate / "model" / "scaler.pkl").write_bytes(b"")
    refused = prove(decision, candidate, read_candidate(candidate), part, read_part(part))
    assert not refused.improved
    assert not refused.gates[-1].passed
    assert refused.reason.startswith(f"{decision.reason}, but cannot load")


def test_a_candidate_too_large_to_be_read_from_a_store_has_failed(tmp_path, judge):
    model = true_model()
    model.ballast = np.random.default_rng(0).bytes(LARGEST_FILE_BYTES)
    decision = judge(write_candidate(tmp_path / "candidate", model))
    assert decision.failed
    assert "more than 67,108,864; use a smaller model" in decision.reason
    assert not gate(decision, "answers from an archive").passed


def test_a_champion_that_does_not_load_here_is_named(tmp_path, judge):
    champion = write_candidate(tmp_path / "champion")
    (champion / "model" / "model.sav").write_bytes(b"cnowhere\nNothing\n.")
    serve(tmp_path / "store", champion)
    decision = judge(write_candidate(tmp_path / "candidate"))
    assert "nowhere" in decision.champion_damage
    assert decision.improved
    assert decision.champion is None


def test_a_store_that_cannot_be_read_stops_the_step(tmp_path, part):
    candidate = write_candidate(tmp_path / "candidate")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "index.json").mkdir()
    with pytest.raises(StoreError):
        run(candidate, part, str(tmp_path / "store"), tmp_path / "decision")
    assert not (tmp_path / "decision" / "decision.json").exists()


def test_a_model_without_signal_is_no_better_than_a_constant(tmp_path, part, judge):
    mean = read_part(part).nodes["node1"].mean_millijoules
    decision = judge(write_candidate(tmp_path / "candidate", linear([0.01]), idle=mean))
    assert not decision.improved
    assert not decision.failed
    assert not gate(decision, "beats a constant").passed
    assert "this group carries almost no signal here" in decision.reason


def test_a_constant_that_suits_the_held_out_rows_better_does_not_pass_for_a_model(tmp_path):
    frames = noisy_node(intervals=1000)
    rows = frames.tables["pkg_data"]
    held_out = [is_held_out(time // 60_000 * 60) for time in rows["timestamp"]]
    rows.loc[held_out, "package_energy_millijoules"] *= 0.7
    part = held_out_part(tmp_path, frames)
    energies = np.concatenate([batch.energy_millijoules for batch in interval_batches(part)])
    candidate = write_candidate(tmp_path / "candidate", linear([0.0]), idle=float(np.median(energies)))
    decision = run(candidate, part, str(tmp_path / "store"), tmp_path / "decision")
    assert decision.improvement_percent > decision.noise_percent
    assert not decision.improved
    assert not gate(decision, "beats a constant").passed
    assert "the best constant there could be: this group carries almost no signal here" in decision.reason


def test_a_champion_worse_than_a_constant_does_not_make_it_easier(tmp_path, part, judge):
    mean = read_part(part).nodes["node1"].mean_millijoules
    serve(tmp_path / "store", write_candidate(tmp_path / "champion", linear([0.0]), idle=0.0))
    decision = judge(write_candidate(tmp_path / "candidate", linear([0.01]), idle=mean))
    assert decision.champion.mape_percent == pytest.approx(100)
    assert decision.improvement_percent > decision.noise_percent
    assert not decision.improved


def test_a_failed_training_pipeline_is_a_decision_with_its_reason(tmp_path, judge):
    decision = judge(write_candidate(tmp_path / "candidate", status="failed", reason="train raised ValueError: no"))
    assert decision.failed
    assert not decision.improved
    assert decision.reason == "train raised ValueError: no"
    assert decision.candidate is None
    assert len(pq.read_table(tmp_path / "decision" / "trace.parquet")) == 0
    assert read_candidate(tmp_path / "decision").status == "failed"


def test_a_candidate_that_estimators_drop_has_failed(tmp_path, judge):
    candidate = write_candidate(tmp_path / "candidate")
    change_metadata(candidate / "model", output_type="DynPower")
    decision = judge(candidate)
    assert decision.failed
    assert not gate(decision, "loads").passed
    assert "go on without this model" in decision.reason


def test_a_candidate_that_names_what_no_estimator_has_is_not_opened(tmp_path, judge):
    trap = tmp_path / "opened"
    decision = judge(write_candidate(tmp_path / "candidate", RunsCodeWhenUnpickled(trap)))
    assert decision.failed
    assert not gate(decision, "loads").passed
    assert decision.reason.startswith("model.sav holds pathlib.Path.touch, which no estimator has; use")
    assert not trap.exists()


def nan_at_its_highest(rows):
    return np.where(rows[:, 0] == HIGHEST[0], np.nan, rows[:, 0])


HIGHEST = [0.0]


def test_one_answer_that_is_no_number_anywhere_in_the_held_out_rows_is_enough(tmp_path, part, judge):
    last = list(interval_batches(part))[-1].pods
    HIGHEST[0] = float(last[-1, 0])
    decision = judge(write_candidate(tmp_path / "candidate", Predicts(nan_at_its_highest)))
    assert decision.failed
    assert [gate.name for gate in decision.gates] == ["trained", "loads", "answers"]
    assert "NaN" in decision.reason


def test_a_model_without_an_answer_beyond_what_it_saw_cannot_be_served(tmp_path, part, judge):
    seen = np.linspace(0, max(batch.pods.max() for batch in interval_batches(part)), 100)
    model = IsotonicRegression(out_of_bounds="nan").fit(seen, MILLIJOULES_PER_CPU_MILLISECOND * seen)
    decision = judge(write_candidate(tmp_path / "candidate", model))
    assert decision.failed
    assert decision.reason.startswith("for 10 times as much work as was held out")
    assert "NaN" in decision.reason


def of_known_processors(rows):
    return np.array([{"Broadwell": 1.0}[row[-1]] for row in rows])


def test_a_model_without_an_answer_for_a_new_processor_cannot_be_served(tmp_path):
    part = held_out_part(tmp_path, noisy_node(), group=FeatureGroup.FULL)
    model = {"model": Predicts(of_known_processors), "group": FeatureGroup.FULL, "scaler": Keeps()}
    decision = run(write_candidate(tmp_path / "new", **model), part, str(tmp_path / "store"), tmp_path / "decision")
    assert decision.failed
    assert "KeyError: 'never seen'" in decision.reason


def test_a_model_that_looks_at_the_other_pods_cannot_be_served(tmp_path, judge):
    decision = judge(write_candidate(tmp_path / "candidate", Predicts(column_means)))
    assert decision.failed
    assert "another power alone than among others" in decision.reason


def test_a_model_that_gives_resting_pods_the_nodes_idle_is_not_published(tmp_path, judge):
    pods = 2.5
    decision = judge(write_candidate(tmp_path / "candidate", linear([20.0], IDLE_MILLIJOULES / pods), idle=0.0))
    assert not decision.improved
    assert not decision.failed
    assert not gate(decision, "pods at rest").passed
    assert "a pod that does nothing gets 60000 mJ" in decision.reason


@pytest.mark.parametrize(("idle", "said"), [(-1.0, "cannot be negative"), (400_000.0, "than the")])
def test_an_idle_outside_physics_is_not_published(tmp_path, judge, idle, said):
    decision = judge(write_candidate(tmp_path / "candidate", idle=idle))
    assert not decision.improved
    assert said in gate(decision, "idle").detail
    assert gate(decision, "idle").detail in decision.reason


@pytest.mark.parametrize(("scale", "idle"), [(1e200, IDLE_MILLIJOULES), (1.0, 1e308)])
def test_what_cannot_be_scored_is_a_decision_that_others_can_read(tmp_path, judge, scale, idle):
    decision = judge(write_candidate(tmp_path / "candidate", true_model(scale), idle=idle))
    assert decision.failed
    assert "mJ are predicted for node1 in one interval, too much to be scored" in decision.reason
    assert read_decision(tmp_path / "decision") == decision


def test_a_champion_that_cannot_be_scored_makes_way(tmp_path, judge):
    serve(tmp_path / "store", write_candidate(tmp_path / "champion", true_model(1e200)))
    decision = judge(write_candidate(tmp_path / "candidate"))
    assert decision.improved
    assert "too much to be scored" in decision.champion_damage
    assert read_decision(tmp_path / "decision") == decision


def test_a_single_held_out_block_publishes_nothing(tmp_path):
    part = held_out_part(tmp_path, noisy_node(intervals=60))
    decision = run(write_candidate(tmp_path / "candidate"), part, str(tmp_path / "store"), tmp_path / "decision")
    assert decision.candidate.mape_percent < decision.baselines["constant"].mape_percent / 2
    assert not decision.improved
    assert "use a longer window" in decision.reason


def test_the_same_time_on_several_nodes_is_one_block(tmp_path):
    part = held_out_part(tmp_path, noisy_node("a"), noisy_node("b", seed=1), noisy_node("c", seed=2))
    candidate = write_candidate(tmp_path / "candidate", idle=dict.fromkeys("abc", IDLE_MILLIJOULES))
    decision = run(candidate, part, str(tmp_path / "store"), tmp_path / "decision")
    assert decision.held_out == {"pod_rows": read_part(part).pod_rows, "node_intervals": 300, "blocks": 5}
    assert [block.node_intervals for block in decision.blocks] == [60] * 5


def test_an_idle_above_the_nodes_quietest_minute_is_not_published(tmp_path, part, judge):
    (node,) = read_part(part).nodes.values()
    assert IDLE_MILLIJOULES < node.least_millijoules < node.mean_millijoules
    decision = judge(write_candidate(tmp_path / "candidate", idle=1.3 * node.least_millijoules))
    assert "in its quietest minute" in gate(decision, "idle").detail
    assert not decision.improved


def test_a_node_never_trained_on_gets_the_mean_idle_of_the_known(tmp_path, part, judge):
    known = {"other1": IDLE_MILLIJOULES - 5000, "other2": IDLE_MILLIJOULES + 5000}
    decision = judge(write_candidate(tmp_path / "candidate", idle=known))
    expected = naive_score(part, 1.0, IDLE_MILLIJOULES)
    assert decision.candidate.mape_percent == pytest.approx(expected.mape_percent)


def test_features_reach_a_model_in_its_own_order(tmp_path):
    group = FeatureGroup.CGROUP_ONLY
    part = held_out_part(tmp_path, noisy_node(), group=group)
    order = tuple(reversed(group.features))
    bytes_written_only = linear([7.0 if feature == "curr_bytes_writes" else 0.0 for feature in order])
    candidate = write_candidate(tmp_path / "candidate", bytes_written_only, group=group, features=order)
    run(candidate, part, str(tmp_path / "store"), tmp_path / "decision")
    trace = pq.read_table(tmp_path / "decision" / "trace.parquet").to_pandas()
    column = group.features.index("curr_bytes_writes")
    sums = np.concatenate([batch.sum_over_pods(batch.pods[:, column]) for batch in interval_batches(part)])
    np.testing.assert_allclose(trace["candidate_millijoules"], IDLE_MILLIJOULES + 7 * sums)


def cpu_time_of_broadwell(rows):
    return np.array([20.0 * row[CPU_TIME] * (row[-1] == "Broadwell") for row in rows])


CPU_TIME = FeatureGroup.FULL.features.index("curr_cpu_time")


def test_the_category_reaches_a_model_of_the_full_group(tmp_path):
    group = FeatureGroup.FULL
    assert group.features[-1] == ARCHITECTURE
    part = held_out_part(tmp_path, noisy_node(), group=group)
    candidate = write_candidate(tmp_path / "candidate", Predicts(cpu_time_of_broadwell), group=group, scaler=Keeps())
    decision = run(candidate, part, str(tmp_path / "store"), tmp_path / "decision")
    assert decision.improved
    assert decision.candidate.mape_percent < 5


def test_features_of_another_group_fail_the_candidate(tmp_path, judge):
    decision = judge(write_candidate(tmp_path / "candidate", features=("curr_bytes_read",)))
    assert decision.failed
    assert "not the features of its group" in decision.reason


def test_a_candidate_is_judged_with_the_part_of_its_own_group_only(tmp_path, part):
    candidate = write_candidate(tmp_path / "candidate", linear([1, 1, 1]), group=FeatureGroup.COUNTER_ONLY)
    with pytest.raises(BrokenContract, match="of its own group"):
        run(candidate, part, str(tmp_path / "store"), tmp_path / "decision")


def test_a_mostly_idle_night_does_not_hide_a_model_that_knows_no_load(tmp_path):
    frames = noisy_node(intervals=1000, noise=0.01)
    night = frames.times()[np.arange(1000) % 20 < 19]
    for table, columns in LOAD_COLUMNS.items():
        rows = frames.tables[table]
        asleep = rows["timestamp"].isin(night)
        for column, value in columns.items():
            rows.loc[asleep, column] = value
    part = held_out_part(tmp_path, frames)
    decision = run(
        write_candidate(tmp_path / "candidate", linear([0.0])), part, str(tmp_path / "store"), tmp_path / "decision"
    )
    unweighted = naive_unweighted_mape(part)
    assert unweighted < 2.5
    assert decision.candidate.mape_percent > 2.5 * unweighted
    assert decision.candidate.busy_mape_percent > 30


LOAD_COLUMNS = {
    "pod_stat_data": {"curr_cpu_time": 0.0},
    "node_stat_data": {"node_curr_cpu_time": 0.0},
    "pkg_data": {"package_energy_millijoules": IDLE_MILLIJOULES / 2},
}


def naive_unweighted_mape(part):
    measured = np.concatenate([batch.energy_millijoules for batch in interval_batches(part)])
    return 100 * np.mean(np.abs(measured - IDLE_MILLIJOULES) / measured)


def test_what_was_decided_is_logged(tmp_path, judge, caplog):
    with caplog.at_level(logging.INFO, logger="kepler_train"):
        decision = judge(write_candidate(tmp_path / "candidate"))
    assert f"BPFOnly/spline: {decision.reason}" in caplog.text
