from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kepler_train.evaluate.balance import Balance
from kepler_train.evaluate.predictions import Predictions


def batch(measured, node="node1"):
    measured = np.asarray(measured, dtype=float)
    times = np.arange(len(measured)) * 3000
    return Predictions(node, times, times // 60_000 * 60, measured, measured)


def balance_of(*batches):
    return Balance(lambda: iter(batches))


def test_idle_hours_do_not_drown_the_load():
    idle, load = np.full(9000, 100.0), np.linspace(200, 1000, 1000)
    balance = balance_of(batch(idle), batch(load))
    idle_weight, load_weight = (balance.weights("node1", part).sum() for part in (idle, load))
    assert idle_weight == pytest.approx(np.sqrt(9000))
    assert load_weight == pytest.approx(idle_weight, rel=0.05)


def test_one_freak_interval_does_not_dominate():
    usual = np.random.default_rng(0).normal(100, 5, 2000)
    balance = balance_of(batch(np.append(usual, 5000.0)))
    assert balance.weights("node1", np.array([5000.0])) == 1.0
    assert balance.weights("node1", usual).sum() > 40


def test_each_node_has_levels_of_its_own():
    small, large = np.linspace(10, 20, 100), np.linspace(1000, 2000, 100)
    balance = balance_of(batch(small, "small"), batch(large, "large"))
    np.testing.assert_allclose(balance.weights("small", small), balance.weights("large", large))


def test_busy_is_the_upper_half_of_a_nodes_range():
    balance = balance_of(batch([100.0, 110.0, 120.0, 500.0]))
    assert balance.busy("node1", np.array([100.0, 299.0, 300.0, 500.0])).tolist() == [False, False, True, True]


def test_a_node_that_always_draws_the_same_counts_like_a_single_level():
    balance = balance_of(batch(np.full(25, 100.0)))
    np.testing.assert_allclose(balance.weights("node1", np.full(25, 100.0)), 0.2)
    assert balance.busy("node1", np.full(25, 100.0)).all()


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=80))
def test_every_level_weighs_the_square_root_of_its_intervals(measured):
    balance = balance_of(batch(measured))
    weights = balance.weights("node1", np.array(measured))
    counts = np.round(1 / weights**2)
    for count in np.unique(counts):
        assert (counts == count).sum() % count == 0
