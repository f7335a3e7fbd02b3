"""The curve of one pod is what the model answers on a line from no activity through the mean held-out pod."""

from __future__ import annotations

import numpy as np
import pytest

from kepler_train.contract.curves import CURVE_FILE, PodCurve
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.parts import interval_batches, read_part
from kepler_train.evaluate.step import run
from tests.unit.assemble.windows import MILLIJOULES_PER_CPU_MILLISECOND, steady_node
from tests.unit.estimators.models import Keeps, Predicts, linear
from tests.unit.evaluate.candidates import held_out_part, write_candidate

COUNTER = FeatureGroup.COUNTER_ONLY


def curve_of(tmp_path, part, model=None, **options):
    run(write_candidate(tmp_path / "candidate", model, **options), part, str(tmp_path / "store"), tmp_path / "out")
    return PodCurve.read(tmp_path / "out" / CURVE_FILE)


def pods_of(part):
    return np.concatenate([batch.pods for batch in interval_batches(part)])


def test_one_feature_goes_from_nothing_to_its_largest_held_out_value(tmp_path):
    part = held_out_part(tmp_path)
    curve = curve_of(tmp_path, part)
    assert curve.feature == "curr_cpu_time"
    assert curve.values[0] == 0
    assert curve.values[-1] == pods_of(part).max()
    assert curve.mean == pytest.approx(pods_of(part).mean())
    np.testing.assert_allclose(curve.millijoules, MILLIJOULES_PER_CPU_MILLISECOND * np.array(curve.values))
    assert curve.cpu_architecture == curve.problem == ""


def test_other_features_go_along_in_the_models_own_order(tmp_path):
    part = held_out_part(tmp_path, steady_node("node1"), group=COUNTER)
    order = COUNTER.features[::-1]
    curve = curve_of(tmp_path, part, linear([3.0, 5.0, 7.0]), group=COUNTER, features=order)
    mean = pods_of(part).mean(axis=0)
    assert curve.feature == COUNTER.features[0]
    at_mean = 3 * mean[2] + 5 * mean[1] + 7 * mean[0]
    assert np.interp(mean[0], curve.values, curve.millijoules) == pytest.approx(at_mean)


def test_the_architecture_is_that_of_most_pods(tmp_path):
    full = FeatureGroup.FULL
    part = held_out_part(tmp_path, steady_node("node1"), group=full)
    curve = curve_of(tmp_path, part, Predicts(first_feature), group=full, scaler=Keeps())
    assert ARCHITECTURE in full.features
    assert curve.cpu_architecture == read_part(part).nodes["node1"].cpu_architecture
    assert curve.values == pytest.approx(curve.millijoules)


def first_feature(rows):
    return rows[:, 0].astype(float)


def fails_beyond_any_pod(rows):
    """Fails for what only the curve asks: as many rows, the first of them at rest."""
    if len(rows) > 1 and not rows[0].any():
        raise ValueError("never seen such rows")
    return 2.0 * rows[:, 0]


def test_a_model_that_fails_on_the_line_is_judged_and_has_no_curve(tmp_path):
    part = held_out_part(tmp_path)
    curve = curve_of(tmp_path, part, Predicts(fails_beyond_any_pod))
    assert curve.values == ()
    assert "never seen such rows" in curve.problem


def test_a_candidate_that_cannot_be_asked_leaves_no_curve(tmp_path):
    part = held_out_part(tmp_path)
    candidate = write_candidate(tmp_path / "candidate", status="failed", reason="ValueError: no rows")
    assert run(candidate, part, str(tmp_path / "store"), tmp_path / "out").failed
    assert not (tmp_path / "out" / CURVE_FILE).exists()
