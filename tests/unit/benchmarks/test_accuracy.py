"""The accuracy benchmark measures what it says: what is held out, what errors mean, and one command for all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.accuracy import recordings
from benchmarks.accuracy.metrics import better_than, idle_error, judge, split_error, sum_errors
from benchmarks.accuracy.peers import Fit, bound, constant, share_of_cpu_time
from benchmarks.accuracy.shipped import fit_shipped
from benchmarks.accuracy.simulated import simulate
from benchmarks.accuracy.training_part import simulated_rows, write

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.parts import interval_batches, read_part
from kepler_train.simulate.spec import SimulationSpec
from kepler_train.simulate.step import run as write_recordings

REPOSITORY = Path(__file__).parents[3]
SPEC = SimulationSpec(seed=5, nodes=2, duration_seconds=900.0, faults=False)


@pytest.fixture(scope="module")
def rows():
    return simulate(SPEC)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    spec = SimulationSpec(seed=5, nodes=1, duration_seconds=900.0)
    return write_recordings(spec, tmp_path_factory.mktemp("recordings"))


def times_of(rows):
    return np.concatenate([batch.timestamp_milliseconds for batch in rows.batches])


@pytest.mark.parametrize("way", [recordings.BLOCK, recordings.FIFTH])
def test_every_interval_is_held_out_once_and_no_neighbour_is_trained_on(files, way):
    rows = recordings.read(files)
    held_out = []
    for training, held in recordings.folds(rows, way):
        apart = np.abs(times_of(training)[:, None] - times_of(held)[None, :])
        assert apart.min() > 3_000
        assert len(training) > 3 * len(held)
        held_out.append(times_of(held))
    assert sorted(np.concatenate(held_out)) == sorted(times_of(rows))
    assert max(map(len, held_out)) - min(map(len, held_out)) <= 20, "of one size, but for a block"


def test_a_recording_is_read_as_what_was_simulated(files):
    read = recordings.read(files)
    simulated = simulate(SimulationSpec(seed=5, nodes=1, duration_seconds=900.0))
    time, known = times_of(read), times_of(simulated)
    assert len(read) > 0.9 * len(simulated)
    kept = np.isin(known, time)
    np.testing.assert_array_equal(read.energy_millijoules, simulated.energy_millijoules[kept])
    np.testing.assert_allclose(read.sums, simulated.sums[kept])


def truth_of(rows, times=1.0):
    by_batch = {id(batch): truth * times for batch, truth in zip(rows.batches, rows.truth, strict=True)}
    return Fit(pods=lambda batch: by_batch[id(batch)], idle_millijoules=rows.idle_millijoules)


def test_the_truth_has_no_error_but_the_noise_of_the_measurement(rows):
    fit = truth_of(rows)
    assert split_error(fit, rows) == 0
    assert idle_error(fit, rows) == 0
    errors = sum_errors(judge(fit, rows))
    assert 2 < errors.mape_percent < 6
    assert abs(errors.bias_percent) < 1.5


def test_one_and_a_half_times_the_truth_is_wrong_by_half(rows):
    assert split_error(truth_of(rows, 1.5), rows) == pytest.approx(50)


def test_only_chosen_pod_rows_count(rows):
    right = [truth.copy() for truth in rows.truth]
    chosen = [np.arange(len(truth)) % 3 == 0 for truth in right]
    wrong = {
        id(batch): np.where(mask, truth, 0.0) for batch, mask, truth in zip(rows.batches, chosen, right, strict=True)
    }
    fit = Fit(pods=lambda batch: wrong[id(batch)])
    assert split_error(fit, rows, chosen) == 0
    assert split_error(fit, rows, [~mask for mask in chosen]) == pytest.approx(100)


def test_the_share_of_cpu_time_hands_out_what_was_measured_beyond_idle(rows):
    fit = share_of_cpu_time(rows)
    for batch in rows.batches:
        dynamic = np.maximum(batch.energy_millijoules - rows.idle_millijoules[batch.node], 0)
        np.testing.assert_allclose(batch.sum_over_pods(fit.pods(batch)), dynamic, atol=1e-3)


def test_a_gain_is_positive_for_the_better_one_and_certain_where_it_is_large(rows):
    good, poor = judge(bound(rows), rows), judge(constant(rows), rows)
    gain, noise = better_than(good, poor)
    assert gain == pytest.approx(sum_errors(poor).mape_percent - sum_errors(good).mape_percent)
    assert gain > noise > 0
    assert better_than(poor, good)[0] == pytest.approx(-gain)


def test_shipped_pipelines_are_asked_through_the_estimators_files(rows):
    mine = rows.of_group(FeatureGroup.COUNTER_ONLY)
    fit = fit_shipped(FeatureGroup.COUNTER_ONLY, "linear", mine)
    assert set(fit.idle_millijoules) == set(rows.idle_millijoules)
    assert split_error(fit, mine) < 60
    assert abs(sum_errors(judge(fit, mine)).bias_percent) < 5


def test_a_part_of_several_times_the_rows_is_read_back(tmp_path):
    rows = simulated_rows(FeatureGroup.COUNTER_ONLY, 2_000)
    write(rows, FeatureGroup.COUNTER_ONLY, 3, tmp_path)
    part, batches = read_part(tmp_path), list(interval_batches(tmp_path))
    assert part.pod_rows == sum(len(batch.pods) for batch in batches) == 3 * rows.pod_rows >= 6_000
    assert part.node_intervals == sum(len(batch) for batch in batches) == 3 * len(rows)
    assert sum(batch.energy_millijoules.sum() for batch in batches) == pytest.approx(3 * rows.energy_millijoules.sum())


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.accuracy", "--quick", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_one_command_prints_tables_and_writes_the_same_figures(files, tmp_path):
    path = tmp_path / "figures.json"
    done = command("--json", str(path), "--recordings", *map(str, files))
    assert done.returncode == 0, done.stderr
    content = json.loads(path.read_text())
    figures = content["figures"]
    assert content["quick"]
    assert all(np.isfinite(figure["value"]) for figure in figures)
    for figure in figures:
        assert figure["table"] in done.stdout
        assert figure["reached"] == (None if figure["at_most"] is None else abs(figure["value"]) <= figure["at_most"])
    for table in ("recordings, CounterOnly", "trained on independent", "a kind left out", "training", "inference"):
        assert any(table in figure["table"] for figure in figures), table
    mape = {figure["row"]: figure["value"] for figure in figures if figure["column"] == "block: MAPE"}
    assert mape["bound: free node-level boosting"] < mape["constant per node: mean"]
    assert mape["shipped: concave"] < mape["reference, on pods: linear"]
    times = {figure["row"]: figure["value"] for figure in figures if figure["unit"] == "times"}
    assert all(number > 0 for number in times.values())


def test_missing_recordings_are_said_to_be_missing(tmp_path):
    done = command("--parts", "sums", KEPLER_RECORDINGS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "NO RECORDINGS" in done.stdout
    assert str(tmp_path) in done.stdout
