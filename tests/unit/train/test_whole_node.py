"""The model of a whole node: what it answers to the sum of a node's pods, inside and outside of what was seen."""

from __future__ import annotations

import numpy as np
import pytest

from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.models import MODEL_FOLDER, NODE_MODEL_FOLDER, read_candidate
from kepler_train.contract.parts import IntervalBatch, interval_batches, read_part
from kepler_train.estimators.d351cbf import Model, load
from kepler_train.train import step, synthetic
from kepler_train.train.registry import Entry, find, pipelines_of
from kepler_train.train.whole_node import fit_whole_node
from tests.unit.train import authors
from tests.unit.train.test_accuracy import batch_of, recorded


def asked(model: Model, batch: IntervalBatch, scale: float = 1.0):
    """What a node model answers to each of a batch's intervals."""
    numeric = [feature for feature in batch.features if feature != ARCHITECTURE]
    sums = dict(zip(numeric, scale * batch.sum_over_pods(batch.pods).T, strict=True))
    columns = [sums.get(feature, np.full(len(batch), batch.cpu_architecture)) for feature in model.metadata.features]
    return model.power_array(np.array(columns, dtype=object).T)


@pytest.mark.parametrize("group", [FeatureGroup.COUNTER_ONLY, FeatureGroup.WORKLOAD_ONLY, FeatureGroup.FULL])
def test_it_answers_what_a_node_measures(part_of, tmp_path, group):
    step.run(part_of(group), f"{group.value}/concave", tmp_path / "out")
    model = load(tmp_path / "out" / NODE_MODEL_FOLDER, "concave")
    for batch in interval_batches(part_of(group)):
        error = asked(model, batch) / batch.energy_millijoules - 1
        assert np.abs(error).mean() < 0.03
        at_rest = asked(model, batch, scale=0.0)
        assert at_rest == pytest.approx(synthetic.IDLE_MILLIJOULES, rel=0.1)


def test_it_goes_on_growing_in_proportion_beyond_what_was_seen(part_of, tmp_path):
    part = part_of(FeatureGroup.COUNTER_ONLY)
    step.run(part, "CounterOnly/concave", tmp_path / "out")
    model = load(tmp_path / "out" / NODE_MODEL_FOLDER, "concave")
    batch = next(interval_batches(part))
    first, second, third = (asked(model, batch, scale) for scale in (1000, 2000, 3000))
    assert (second > first).all()
    assert third - second == pytest.approx(second - first, rel=1e-6)


def test_an_architecture_that_was_never_seen_gets_what_all_have_in_common(part_of, tmp_path):
    part = part_of(FeatureGroup.FULL)
    step.run(part, "Full/concave", tmp_path / "out")
    model = load(tmp_path / "out" / NODE_MODEL_FOLDER, "concave")
    rows = np.array([[0.0] * 12 + ["Zen"]], dtype=object)[:, : len(model.metadata.features)]
    rows[0, list(model.metadata.features).index(ARCHITECTURE)] = "Zen"
    assert model.power_array(rows)[0] == pytest.approx(synthetic.IDLE_MILLIJOULES, rel=0.1)


def test_it_is_of_the_class_of_the_pipeline_and_both_classes_answer_alike(part_of, tmp_path):
    group = FeatureGroup.COUNTER_ONLY
    powers = {}
    for entry in pipelines_of(group):
        step.train(part_of(group), read_part(part_of(group)), entry, tmp_path / entry.model_name)
        model = load(tmp_path / entry.model_name / NODE_MODEL_FOLDER, entry.model_name)
        assert model.metadata.model_class == entry.load().model_class
        powers[entry.model_name] = asked(model, next(interval_batches(part_of(group))))
    assert powers["concave-keras"] == pytest.approx(powers["concave"], rel=1e-5)
    assert powers["linear"] == pytest.approx(powers["concave"])


@pytest.mark.parametrize("author", ["Counters", "Streams"])
def test_an_authors_class_gets_one_without_doing_anything(part_of, tmp_path, author):
    part, name = part_of(FeatureGroup.COUNTER_ONLY), getattr(authors, author).model_name
    entry = Entry(FeatureGroup.COUNTER_ONLY, name, f"tests.unit.train.authors:{author}")
    assert step.train(part, read_part(part), entry, tmp_path / "out").status == "trained"
    assert asked(load(tmp_path / "out" / NODE_MODEL_FOLDER, name), next(interval_batches(part))).min() > 0


def test_where_none_can_be_made_the_model_of_pods_is_kept_and_a_note_says_so(part_of, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise FloatingPointError("no number")

    monkeypatch.setattr("kepler_train.train.whole_node.fit_additive", fails)
    candidate = step.run(part_of(FeatureGroup.COUNTER_ONLY), "CounterOnly/concave", tmp_path / "out")
    assert candidate.status == "trained"
    assert any("no model of the whole node: FloatingPointError: no number" in note for note in candidate.notes)
    assert read_candidate(tmp_path / "out") == candidate
    assert (tmp_path / "out" / MODEL_FOLDER).is_dir()
    assert not (tmp_path / "out" / NODE_MODEL_FOLDER).exists()


def test_a_failed_training_leaves_none(part_of, tmp_path):
    part = part_of(FeatureGroup.COUNTER_ONLY)
    entry = Entry(FeatureGroup.COUNTER_ONLY, "raises", "tests.unit.train.authors:Raises")
    assert step.train(part, read_part(part), entry, tmp_path / "out").status == "failed"
    assert not (tmp_path / "out" / NODE_MODEL_FOLDER).exists()


@pytest.mark.recordings
@pytest.mark.parametrize(("pipeline", "most"), [("CounterOnly/concave", 3.8), ("BPFOnly/curved", 21.5)])
def test_recordings_of_a_real_node(recordings, tmp_path, pipeline, most):
    """Held out are every fifth of the blocks in turn; a constant misses by 47 %."""
    own = find(pipeline).load()(tmp_path)
    intervals = [one for name in ("idle", "coremark") for one in recorded(recordings[name], own.features)]
    number = {block: at for at, block in enumerate(sorted({time // 60 for time, _, _ in intervals}))}
    errors = []
    for fold in range(5):
        held = [one for one in intervals if number[one[0] // 60] % 5 == fold]
        rest = batch_of([one for one in intervals if number[one[0] // 60] % 5 != fold], own.features)
        fitted = fit_whole_node(own, lambda rest=rest: iter([rest]))
        judged = batch_of(held, own.features)
        sums = judged.sum_over_pods(judged.pods)
        errors.append(fitted.model.predict(fitted.scaler.transform(sums)) / judged.energy_millijoules - 1)
    assert 100 * np.abs(np.concatenate(errors)).mean() < most
