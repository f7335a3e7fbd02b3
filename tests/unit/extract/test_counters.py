from __future__ import annotations

import numpy as np

from kepler_train.extract.counters import Steps, steps


def taken(seconds: list[float], counters: list[float], owner: list[int] | None = None) -> Steps:
    owners = np.array(owner or [0] * len(seconds))
    times = np.array([round(second * 1000) for second in seconds])
    return steps(owners, times, np.array(counters, float)[:, np.newaxis], 3.0)


def differences(found: Steps) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in found.differences[:, 0]]


def test_a_difference_is_over_the_interval_that_ends_at_the_sample() -> None:
    found = taken([0, 3, 6.2], [100, 150, 170])
    assert differences(found) == [None, 50, 20]
    assert found.first.tolist() == [True, False, False]


def test_owners_do_not_mix() -> None:
    assert differences(taken([0, 3, 0, 3], [10, 20, 5, 6], owner=[0, 0, 1, 1])) == [None, 10, None, 1]


def test_more_or_less_than_an_interval_is_a_gap() -> None:
    found = taken([0, 4.5, 9.1, 10.5, 13.5], [1, 2, 3, 4, 5])
    assert found.gap.tolist() == [False, False, True, True, False]
    assert differences(found) == [None, 1, None, None, 1]


def test_nothing_within_a_minute_is_no_predecessor() -> None:
    found = taken([0, 60, 120.001], [1, 2, 3])
    assert found.first.tolist() == [True, False, True]
    assert found.gap.tolist() == [False, True, False]


def test_a_restart_is_a_reset() -> None:
    found = taken([0, 3, 6], [500_000, 200, 300])
    assert found.reset.tolist() == [False, True, False]
    assert differences(found) == [None, None, 100]


def test_a_counter_at_the_end_of_its_range_wraps() -> None:
    found = taken([0, 3, 6], [65_646_695, 12_163, 83_000])
    assert found.wrapped.tolist() == [False, True, False]
    assert not found.reset.any()
    assert differences(found) == [None, None, 70_837]


def test_one_counter_that_went_back_spoils_the_whole_sample() -> None:
    counters = np.array([[1000.0, 65_700_000.0], [1100.0, 5.0]])
    found = steps(np.zeros(2, np.int64), np.array([0, 3000]), counters, 3.0)
    assert found.wrapped.tolist() == [False, True]
    assert np.isnan(found.differences).all()


def test_a_counter_that_is_not_written_is_no_fault() -> None:
    counters = np.array([[1000.0, np.nan], [1100.0, np.nan]])
    found = steps(np.zeros(2, np.int64), np.array([0, 3000]), counters, 3.0)
    assert found.differences[1, 0] == 100
    assert np.isnan(found.differences[1, 1])
    assert not (found.reset | found.wrapped)[1]


def test_no_samples_have_no_differences() -> None:
    assert steps(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2)), 3.0).differences.shape == (0, 2)
