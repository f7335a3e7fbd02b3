from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kepler_train.evaluate.balance import Standing
from kepler_train.evaluate.comparison import compare
from kepler_train.evaluate.scores import Tally

MEASURED = 100.0


def standing(weights, levels=None, busy=None):
    """Where intervals stand: all in one level, and busy, unless told otherwise."""
    count = len(weights)
    return Standing(
        weights=weights,
        levels=np.zeros(count, dtype=int) if levels is None else levels,
        busy=np.ones(count, dtype=bool) if busy is None else busy,
    )


def tally_of(errors, blocks, weights=None, levels=None):
    """Tally relative errors, (2, k), of a candidate and a champion on nodes that all draw 100 mJ."""
    tally = Tally(("candidate", "champion"))
    measured = np.full(errors.shape[1], MEASURED)
    weights = np.ones(len(measured)) if weights is None else weights
    tally.add(measured, measured * (1 + errors), standing(weights, levels), blocks)
    return tally


def drawn(rng, blocks, *, gain=0.0, block_spread=0.05, intervals=20):
    """Errors of two models whose difference has a part that a whole block shares."""
    shared = np.repeat(rng.normal(0, block_spread, (2, blocks)), intervals, axis=1)
    errors = np.abs(0.2 + shared + rng.normal(0, 0.02, shared.shape))
    errors[0] -= gain
    return tally_of(errors, np.repeat(np.arange(blocks) * 60, intervals))


def drawn_by_level(rng, blocks, *, gain=0.0, intervals=20):
    """The same, where one model is better at high levels and the other at low ones, and blocks are in few levels."""
    home = np.repeat(rng.integers(0, 9, blocks), intervals)
    levels = home + rng.integers(0, 2, len(home))
    weights = 1 / np.sqrt(np.bincount(levels, minlength=10)[levels])
    block = np.repeat(np.arange(blocks), intervals)
    lean = np.linspace(-0.15, 0.15, 10)[levels]
    lean -= np.average(lean, weights=weights)
    shared = rng.normal(0, 0.02, (2, blocks))[:, block]
    errors = 0.3 + shared + rng.normal(0, 0.02, shared.shape) + np.stack([-gain + lean, -lean])
    return tally_of(errors, block * 60, weights, levels)


@pytest.mark.parametrize("draw", [drawn, drawn_by_level])
@pytest.mark.parametrize("blocks", [2, 3, 5, 20])
def test_two_equally_good_models_are_told_apart_by_luck_no_more_often_than_said(draw, blocks):
    rng = np.random.default_rng(blocks)
    compared = [compare(draw(rng, blocks), "champion") for _ in range(400)]
    # 2.5 % on each side of the 95 % interval; four standard errors of 400 draws are 3.1 points.
    assert np.mean([comparison.improved for comparison in compared]) < 0.056
    assert np.mean([comparison.worse for comparison in compared]) < 0.056


def test_intervals_taken_for_independent_would_be_fooled():
    """Guards the test above: without blocks the same luck passes for improvement."""
    rng = np.random.default_rng(5)
    fooled = []
    for _ in range(200):
        errors = drawn(rng, 5)
        gains = np.array([(b.relative_errors[1] - b.relative_errors[0]).sum() for b in errors.blocks.values()])
        within = np.sqrt(errors.squares[1, 2].sum()) / errors.weight
        fooled.append(gains.sum() / errors.weight > 1.96 * within)
    assert np.mean(fooled) > 0.1


def test_the_mix_of_levels_is_no_noise():
    rng = np.random.default_rng(4)
    assert np.mean([compare(drawn_by_level(rng, 20, gain=0.05), "champion").improved for _ in range(100)]) > 0.9


@pytest.mark.parametrize("blocks", [5, 20])
def test_a_model_that_is_much_better_is_found_better(blocks):
    rng = np.random.default_rng(blocks)
    assert all(compare(drawn(rng, blocks, gain=0.18, block_spread=0.02), "champion").improved for _ in range(100))


def test_of_a_single_block_nothing_can_be_told():
    perfect = np.zeros((2, 50))
    perfect[1] = 5.0
    for errors in (perfect, perfect[::-1]):
        comparison = compare(tally_of(errors, np.zeros(50, dtype=int)), "champion")
        assert not comparison.improved
        assert not comparison.worse


def test_two_blocks_that_agree_by_luck_do_not_make_the_noise_vanish():
    rng = np.random.default_rng(1)
    errors = np.abs(rng.normal(0.2, 0.1, (2, 40)))
    half = errors[:, :20]
    agreeing = tally_of(np.hstack([half, half]), np.repeat([0, 60], 20))
    assert compare(agreeing, "champion").noise_percent > 12.7 * 100 * 0.05 / np.sqrt(40)


def test_a_model_against_itself_is_no_improvement():
    errors = np.abs(np.random.default_rng(2).normal(0.2, 0.1, 60))
    almost = errors * (1 - 1e-12)
    comparison = compare(tally_of(np.stack([almost, errors]), np.repeat([0, 60, 120], 20)), "champion")
    assert not comparison.improved
    assert not comparison.worse


def test_improvement_is_relative_to_the_references_error():
    errors = np.stack([np.full(60, 0.15), np.full(60, 0.20)])
    comparison = compare(tally_of(errors, np.repeat([0, 60, 120], 20)), "champion")
    assert comparison.improvement_percent == pytest.approx(25.0)
    assert comparison.improved


@given(scale=st.floats(0.1, 100), seed=st.integers(0, 100))
def test_the_unit_of_weights_changes_nothing(scale, seed):
    rng = np.random.default_rng(seed)
    errors, weights = np.abs(rng.normal(0.2, 0.1, (2, 80))), rng.uniform(0.1, 3, 80)
    blocks = np.repeat(np.arange(4) * 60, 20)
    one, other = (compare(tally_of(errors, blocks, weights * factor), "champion") for factor in (1, scale))
    assert one.improvement_percent == pytest.approx(other.improvement_percent, abs=1e-9)
    assert one.noise_percent == pytest.approx(other.noise_percent, rel=1e-6)


@given(order=st.permutations(range(6)), pieces=st.integers(1, 4))
def test_the_order_and_the_size_of_batches_change_nothing(order, pieces):
    rng = np.random.default_rng(3)
    errors, blocks = np.abs(rng.normal(0.2, 0.1, (2, 60))), np.repeat(np.arange(6) * 60, 10)
    measured, busy, levels = rng.uniform(50, 200, 60), rng.random(60) > 0.5, rng.integers(0, 10, 60)
    whole, in_batches = Tally(("candidate", "champion")), Tally(("candidate", "champion"))
    whole.add(measured, measured * (1 + errors), standing(np.ones(60), levels, busy), blocks)
    for block in order:
        for rows in np.array_split(np.flatnonzero(blocks == block * 60), pieces):
            stand = standing(np.ones(len(rows)), levels[rows], busy[rows])
            in_batches.add(measured[rows], measured[rows] * (1 + errors[:, rows]), stand, blocks[rows])
    expected, found = compare(whole, "champion"), compare(in_batches, "champion")
    assert found.improvement_percent == pytest.approx(expected.improvement_percent)
    assert found.noise_percent == pytest.approx(expected.noise_percent)
    assert in_batches.score("candidate").mse_millijoules2 == pytest.approx(whole.score("candidate").mse_millijoules2)
