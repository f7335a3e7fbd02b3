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
    idle_weight, load_weight = (balance.standing("node1", part).weights.sum() for part in (idle, load))
    assert idle_weight == pytest.approx(np.sqrt(9000))
    assert load_weight == pytest.approx(idle_weight, rel=0.05)


def test_one_freak_interval_does_not_dominate():
    usual = np.random.default_rng(0).normal(100, 5, 2000)
    balance = balance_of(batch(np.append(usual, 5000.0)))
    assert balance.standing("node1", np.array([5000.0])).weights == 1.0
    assert balance.standing("node1", usual).weights.sum() > 40


def test_each_node_has_levels_of_its_own():
    small, large = np.linspace(10, 20, 100), np.linspace(1000, 2000, 100)
    balance = balance_of(batch(small, "small"), batch(large, "large"))
    np.testing.assert_allclose(balance.standing("small", small).weights, balance.standing("large", large).weights)


def test_busy_is_the_upper_half_of_a_nodes_range():
    measured = np.array([100.0, 299.0, 300.0, 500.0])
    assert balance_of(batch(measured)).standing("node1", measured).busy.tolist() == [False, False, True, True]


def test_a_node_that_always_draws_the_same_counts_like_a_single_level():
    balance = balance_of(batch(np.full(25, 100.0)))
    np.testing.assert_allclose(balance.standing("node1", np.full(25, 100.0)).weights, 0.2)
    assert balance.standing("node1", np.full(25, 100.0)).busy.all()


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=80))
def test_every_level_weighs_the_square_root_of_its_intervals(measured):
    balance = balance_of(batch(measured))
    weights = balance.standing("node1", np.array(measured)).weights
    counts = np.round(1 / weights**2)
    for count in np.unique(counts):
        assert (counts == count).sum() % count == 0


@given(st.lists(st.floats(10, 1e4), min_size=1, max_size=60))
def test_no_constant_has_a_smaller_weighted_relative_error(measured):
    measured = np.array(measured)
    balance = balance_of(batch(measured))
    weights = balance.standing("node1", measured).weights

    def error(constant):
        return np.average(np.abs(constant - measured) / measured, weights=weights)

    step = (measured.max() - measured.min()) / 1000
    # Two intervals in one step may change places; the median is then one step off.
    tolerance = 2 * np.average(step / measured, weights=weights) + 1e-9
    assert error(balance.best_constant("node1")) <= min(error(constant) for constant in measured) + tolerance
