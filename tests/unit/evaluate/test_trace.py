from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from kepler_train.contract.tables import TRACE_SCHEMA
from kepler_train.evaluate.predictions import Predictions
from kepler_train.evaluate.trace import MOST_ROWS, Trace


def batches(count, size, node):
    for number in range(count):
        times = (np.arange(size) + number * size) * 3000
        yield Predictions(node, times, times // 60_000 * 60, times + 1.0, times + 2.0)


@pytest.mark.parametrize("size", [13, 997])
def test_a_long_trace_is_thinned_evenly(tmp_path, size):
    count = 20_000 // size
    trace = Trace(2 * count * size)
    for node in "ab":
        for batch in batches(count, size, node):
            trace.add(batch, None)
    trace.write(tmp_path / "trace.parquet")
    rows = pq.read_table(tmp_path / "trace.parquet").to_pandas()
    assert MOST_ROWS * 0.9 < len(rows) <= MOST_ROWS
    for node in "ab":
        steps = np.diff(rows[rows["node"] == node]["timestamp"].astype("int64"))
        assert len(set(steps)) == 1


def test_a_short_trace_is_kept_whole_with_the_champions_answers(tmp_path):
    trace = Trace(40)
    for batch in batches(2, 20, "node1"):
        trace.add(batch, batch.measured_millijoules + 5)
    trace.write(tmp_path / "trace.parquet")
    table = pq.read_table(tmp_path / "trace.parquet")
    assert table.schema.equals(TRACE_SCHEMA)
    rows = table.to_pandas()
    assert len(rows) == 40
    assert (rows["champion_millijoules"] - rows["measured_millijoules"] == 5).all()
    assert (rows["candidate_millijoules"] - rows["measured_millijoules"] == 1).all()


def test_where_there_is_no_champion_its_column_is_null(tmp_path):
    trace = Trace(20)
    for batch in batches(1, 20, "node1"):
        trace.add(batch, None)
    trace.write(tmp_path / "trace.parquet")
    assert pq.read_table(tmp_path / "trace.parquet").column("champion_millijoules").null_count == 20


def test_nothing_scored_leaves_a_trace_without_rows(tmp_path):
    Trace(0).write(tmp_path / "trace.parquet")
    table = pq.read_table(tmp_path / "trace.parquet")
    assert table.schema.equals(TRACE_SCHEMA)
    assert len(table) == 0
