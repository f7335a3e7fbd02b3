from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from benchmarks.accuracy.simulated import simulate

from kepler_train.contract.evidence import IdleSource
from kepler_train.contract.features import FeatureGroup
from kepler_train.simulate.spec import Scenario, SimulationSpec
from kepler_train.train.additive.idle import estimate_idle
from kepler_train.train.additive.survey import survey


def node(activity, idle=150.0, per_activity=300.0, noise=0.03, seed=1):
    """One stretch of rows of (one feature's sum, energy, block)."""
    energy = (idle + per_activity * activity) * np.random.default_rng(seed).normal(1, noise, len(activity))
    return [np.column_stack([activity, energy, blocks(len(activity))])]


def blocks(intervals):
    return np.arange(intervals) // 20 * 60.0


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
    assert found.uncertainty_millijoules > 0.1 * 150
    assert abs(found.millijoules - 150) < found.uncertainty_millijoules


def test_the_idle_energy_of_a_node_that_never_rests_is_expected_below_its_line():
    activity = np.random.default_rng(2).uniform(0.5, 1.0, 1000)
    [rows] = node(activity)
    rows[:, 1] += 60.0 * (1 - np.exp(-activity / 0.1))  # the first activity wakes what all share
    found = estimate_idle({"node": [rows]})["node"]
    assert found.millijoules == pytest.approx(150, rel=0.15), "a straight line ends at 210"
    assert found.evidence.low_millijoules < 150 < found.evidence.high_millijoules


def test_where_activity_says_nothing_low_energies_stand_in():
    random = np.random.default_rng(4)
    energy = np.where(random.random(1000) < 0.5, 150.0, 400.0) * random.normal(1, 0.03, 1000)
    found = estimate_idle({"node": [np.column_stack([random.random(1000), energy, blocks(1000)])]})["node"]
    assert 100 < found.millijoules < 200
    assert found.evidence.source is IdleSource.EXTRAPOLATED
    assert found.evidence.low_millijoules < 50, "nothing is known of what pods cause"


def test_features_without_signal_do_not_disturb():
    activity = np.tile([0.01, 0.5, 0.9, 0.7], 200)
    rows = node(activity)[0]
    noisy = np.column_stack([np.random.default_rng(5).random(800), np.zeros(800), np.full(800, 7.0), rows])
    assert estimate_idle({"node": [noisy]})["node"].millijoules == pytest.approx(150, rel=0.04)


def test_nodes_keep_their_own_idle_energy():
    activity = np.tile([0.01, 0.02, 0.5, 0.9], 200)
    found = estimate_idle({"small": node(activity, idle=100.0), "large": node(activity, idle=300.0, seed=9)})
    assert found["small"].millijoules == pytest.approx(100, rel=0.05)
    assert found["large"].millijoules == pytest.approx(300, rel=0.05)


def test_a_value_fitted_outside_of_the_interval_widens_it():
    found = estimate_idle({"node": node(np.tile([0.01, 0.02, 0.5, 0.9], 200))})["node"]
    low, high = found.evidence.low_millijoules, found.evidence.high_millijoules
    assert low < 150 < high
    assert found.evidence_of(150.0) == found.evidence
    assert found.evidence_of(low - 1).low_millijoules == low - 1
    assert found.evidence_of(high + 1).high_millijoules == high + 1


def test_the_fewer_blocks_of_time_quiet_intervals_come_from_the_less_is_known():
    activity = np.random.default_rng(2).uniform(0.3, 1.0, 1000)
    spread, together = activity.copy(), activity.copy()
    spread[::20] = together[500:550] = np.random.default_rng(3).uniform(0.01, 0.02, 50)
    drift = np.repeat(np.random.default_rng(6).normal(1, 0.04, 50), 20)[:, None] * [0, 1, 0] + [1, 0, 1]
    widths = []
    for load in (spread, together):
        evidence = estimate_idle({"node": [node(load)[0] * drift]})["node"].evidence
        widths.append(evidence.high_millijoules - evidence.low_millijoules)
    assert widths[0] < widths[1]


BASE = SimulationSpec(duration_seconds=2400.0, faults=False)
IDLE_RECORDING = {"scenario": Scenario.IDLE, "start": BASE.start - timedelta(hours=6), "duration_seconds": 300.0}
WINDOWS = {
    "rests now and then": ([{}], IdleSource.QUIET, 0.4),
    "one load curve": ([{"scenario": Scenario.ONE_CURVE}], IdleSource.QUIET, 0.4),
    "never rests": ([{"rests": False}], IdleSource.EXTRAPOLATED, np.inf),
    "one workload varies": ([{"scenario": Scenario.ONE_VARIES}], IdleSource.EXTRAPOLATED, np.inf),
    "idle recording": ([{"scenario": Scenario.ONE_VARIES}, IDLE_RECORDING], IdleSource.FURTHER, 0.4),
}


@pytest.mark.parametrize("group", [FeatureGroup.COUNTER_ONLY, FeatureGroup.BPF_ONLY], ids=lambda group: group.value)
@pytest.mark.parametrize("window", WINDOWS)
def test_the_interval_holds_the_truth_of_the_simulator_and_the_source_is_right(window, group):
    spans, source, widest = WINDOWS[window]
    held, widths, sources = [], [], []
    for seed in range(1, 6):
        rows = simulate(*(msgspec.structs.replace(BASE, seed=seed, **span) for span in spans)).of_group(group)
        for name, idle in survey(rows.batches).idle.items():
            truth, evidence = rows.idle_millijoules[name], idle.evidence
            held.append(evidence.low_millijoules <= truth <= evidence.high_millijoules)
            widths.append((evidence.high_millijoules - evidence.low_millijoules) / truth)
            sources.append(evidence.source)
    assert np.mean(held) >= 0.9, "15 nodes, of which an interval of 95 % misses one now and then"
    assert np.mean(widths) < widest
    if source is IdleSource.EXTRAPOLATED:
        assert np.min(widths) > 0.5, "nothing in the window tells idle from pods that are always on"
    assert sources.count(source) >= 0.8 * len(sources)


def test_a_short_idle_recording_is_not_lost_in_a_long_window(nodes_of_a_day):
    (idle,) = survey(nodes_of_a_day).idle.values()
    assert idle.millijoules == pytest.approx(150_000, rel=0.02)
    assert idle.evidence.source is IdleSource.FURTHER


@pytest.fixture
def nodes_of_a_day():
    """A node that is busy for a day, and idle for five minutes of the day before."""
    from kepler_train.contract.parts import IntervalBatch

    random = np.random.default_rng(7)
    batches = []
    for start, intervals, least in ((0, 100, 0.005), (86_400, 28_800, 0.4)):
        load = random.uniform(least, 2 * least, intervals)
        times = (start + 3 * np.arange(intervals, dtype=np.int64)) * 1000
        batches.append(
            IntervalBatch(
                node="node1",
                cpu_architecture="Broadwell",
                features=FeatureGroup.BPF_ONLY.features,
                pods=load[:, None] * 1e6,
                starts=np.arange(intervals + 1),
                energy_millijoules=(150_000 + 300_000 * load) * random.normal(1, 0.03, intervals),
                timestamp_milliseconds=times,
                block_start_seconds=times // 60_000 * 60,
            )
        )
    return batches
