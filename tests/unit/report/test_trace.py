"""What is drawn of a trace is what the trace says, whatever its length."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kepler_train.contract.tables import TRACE_SCHEMA
from kepler_train.report import plots, trace
from kepler_train.report.trace import CANDIDATE, CHAMPION, MEASURED

START = 1_790_000_040  # a multiple of 60


def write(path, times, nodes, measured, candidate):
    times = np.asarray(times)
    columns = {
        "timestamp": 1000 * times,
        "node": list(nodes),
        "measured_millijoules": np.asarray(measured, dtype=float),
        "candidate_millijoules": np.asarray(candidate, dtype=float),
        "champion_millijoules": [None] * len(times),
        "block_start_seconds": times // 60 * 60,
    }
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    pq.write_table(table.cast(TRACE_SCHEMA), path, row_group_size=7)
    return path


def blocks(*numbers):
    """Twenty times of three seconds in each of the numbered minutes."""
    return np.concatenate([START + 60 * number + 3 * np.arange(20) for number in numbers])


def test_node_fits_are_mean_relative_errors_and_biases(tmp_path):
    path = write(
        tmp_path / "t", np.tile(blocks(0), 2), ["b"] * 20 + ["a"] * 20, [1000.0] * 40, [1100.0] * 20 + [800.0] * 20
    )

    a, b = trace.node_fits(path, CANDIDATE)

    assert (a.node, a.node_intervals, b.node, b.node_intervals) == ("a", 20, "b", 20)
    assert (a.error_percent, a.bias_percent) == pytest.approx((20, -20))
    assert (b.error_percent, b.bias_percent) == pytest.approx((10, 10))


def test_rows_without_a_prediction_are_left_out(tmp_path):
    path = write(tmp_path / "t", blocks(0), ["a"] * 20, [10.0] * 20, [11.0] * 20)

    assert trace.node_fits(path, CHAMPION) == ()


def test_time_between_held_out_blocks_is_a_gap_and_neighbours_are_joined(tmp_path):
    times = blocks(0, 1, 7, 30)
    path = write(tmp_path / "t", times, ["a"] * 80, 3000.0 + np.arange(80), [1.0] * 80)

    line = trace.time_line(path, "a", 3.0)

    assert line.runs.tolist() == [0] * 40 + [1] * 20 + [2] * 20
    assert len(line.gaps) == 2
    for run, (left, right) in enumerate(line.gaps):
        assert line.positions[line.runs == run].max() < left < right < line.positions[line.runs == run + 1].min()
    np.testing.assert_allclose(line.power_watts[MEASURED], (3000 + np.arange(80)) / 3000)
    assert np.isnan(line.power_watts[CHAMPION]).all()
    assert [tick.timestamp() for _, tick in (line.ticks[0], line.ticks[-1])] == [times[0], times[-1]]


def test_a_line_is_drawn_in_as_many_strokes_as_there_are_runs(tmp_path):
    path = write(tmp_path / "t", blocks(0, 1, 7, 30), ["a"] * 80, [3000.0] * 80, [3000.0] * 80)

    svg = plots.power_over_time(trace.time_line(path, "a", 3.0), [(MEASURED, "measured")], "power")

    assert svg.count("M") == 3
    assert svg.count('class="gap"') == 2


@settings(max_examples=25, deadline=None)
@given(minutes=st.sets(st.integers(0, 3000), min_size=1, max_size=120), seed=st.integers(0, 99))
def test_thinning_keeps_order_sums_and_bounds(minutes, seed, tmp_path_factory):
    times = blocks(*sorted(minutes))
    measured = np.random.default_rng(seed).uniform(1e5, 1e6, len(times))
    path = write(tmp_path_factory.mktemp("t") / "t", times, ["a"] * len(times), measured, measured)

    line = trace.time_line(path, "a", 3.0)

    assert len(line.positions) <= 480 + 41
    assert (np.diff(line.positions) > 0).all()
    assert (np.diff(line.runs) >= 0).all()
    assert line.positions[0] >= 0
    assert line.positions[-1] <= 1
    assert line.rows_per_point == pytest.approx(len(times) / len(line.positions))
    watts = line.power_watts[MEASURED]
    assert measured.min() / 3000 * 0.999 <= watts.min() <= watts.max() <= measured.max() / 3000 * 1.001
    if line.rows_per_point == 1:
        np.testing.assert_allclose(watts, measured / 3000)


def test_residuals_count_every_row_once_where_it_is(tmp_path):
    measured = np.linspace(3e5, 9e5, 200)
    path = write(tmp_path / "t", blocks(*range(10)), ["a"] * 200, measured, measured + 3000)

    cells = trace.residuals(path, CANDIDATE, 3.0)

    assert cells.counts.sum() == 200
    assert np.average(cells.residual_watts, weights=cells.counts) == pytest.approx(1, abs=0.01)
    assert np.average(cells.measured_watts, weights=cells.counts) == pytest.approx(200, rel=0.01)


def test_an_empty_trace_draws_nothing(tmp_path):
    path = write(tmp_path / "t", np.empty(0, dtype=int), [], [], [])

    assert trace.node_fits(path, CANDIDATE) == ()
    assert len(trace.residuals(path, CANDIDATE, 3.0).counts) == 0


@settings(max_examples=200, deadline=None)
@given(highest=st.floats(0.01, 1e6))
def test_the_watt_axis_has_few_round_steps_and_holds_the_highest(highest):
    top, steps = plots._watt_axis(highest)

    assert top >= highest * (1 - 1e-9)
    assert 3 <= len(steps) <= 6
    assert steps[0] == 0
    assert steps[-1] == pytest.approx(top)
    assert len(f"{steps[1]:g}") <= 7
