from __future__ import annotations

import numpy as np
import pytest

from kepler_train.train.additive.idle import estimate_idle


def node(activity, idle=150.0, per_activity=300.0, noise=0.03, seed=1):
    """Rows of (one feature's sum, energy)."""
    energy = (idle + per_activity * activity) * np.random.default_rng(seed).normal(1, noise, len(activity))
    return np.column_stack([activity, energy])


def test_quiet_intervals_show_the_idle_energy():
    activity = np.random.default_rng(2).uniform(0.3, 1.0, 1000)
    activity[::20] = np.random.default_rng(3).uniform(0.01, 0.02, 50)
    found = estimate_idle({"node": node(activity)})["node"]
    assert found.millijoules == pytest.approx(150, rel=0.03)
    assert found.uncertainty_millijoules < 0.05 * 150
    assert found.ceiling_millijoules > found.millijoules


def test_a_node_that_never_rests_is_extrapolated_and_said_to_be_uncertain():
    activity = np.random.default_rng(2).uniform(0.5, 1.0, 1000)
    found = estimate_idle({"node": node(activity)})["node"]
    assert found.millijoules == pytest.approx(150, rel=0.2)
    assert found.uncertainty_millijoules > 0.1 * 150
    assert abs(found.millijoules - 150) < 2 * found.uncertainty_millijoules


def test_where_activity_says_nothing_low_energies_stand_in():
    random = np.random.default_rng(4)
    energy = np.where(random.random(1000) < 0.5, 150.0, 400.0) * random.normal(1, 0.03, 1000)
    found = estimate_idle({"node": np.column_stack([random.random(1000), energy])})["node"]
    assert 100 < found.millijoules < 200


def test_features_without_signal_do_not_disturb():
    activity = np.tile([0.01, 0.5, 0.9, 0.7], 200)
    rows = node(activity)
    noisy = np.column_stack([np.random.default_rng(5).random(800), np.zeros(800), np.full(800, 7.0), rows])
    assert estimate_idle({"node": noisy})["node"].millijoules == pytest.approx(150, rel=0.04)


def test_nodes_keep_their_own_idle_energy():
    activity = np.tile([0.01, 0.02, 0.5, 0.9], 200)
    found = estimate_idle({"small": node(activity, idle=100.0), "large": node(activity, idle=300.0, seed=9)})
    assert found["small"].millijoules == pytest.approx(100, rel=0.05)
    assert found["large"].millijoules == pytest.approx(300, rel=0.05)
