"""The trace of an evaluation: some held-out intervals, measured and predicted, for plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kepler_train.contract.tables import TRACE_SCHEMA
from kepler_train.evaluate.predictions import Floats, Predictions

MOST_ROWS = 3000


class Trace:
    """Keeps every so manieth of a known number of intervals, so that at most MOST_ROWS are kept."""

    def __init__(self, node_intervals: int) -> None:
        self._stride = max(1, -(-node_intervals // MOST_ROWS))
        self._seen = 0
        self._kept: list[pa.Table] = []

    def add(self, candidate: Predictions, champion_millijoules: Floats | None) -> None:
        """Go past some intervals, in the order of nodes and times."""
        rows = slice(-self._seen % self._stride, None, self._stride)
        self._seen += len(candidate.measured_millijoules)
        times = candidate.timestamp_milliseconds[rows]
        champion = [None] * len(times) if champion_millijoules is None else champion_millijoules[rows]
        columns = [
            pa.array(times).cast(TRACE_SCHEMA.field("timestamp").type),
            pa.DictionaryArray.from_arrays(np.zeros(len(times), np.int32), pa.array([candidate.node])),
            pa.array(candidate.measured_millijoules[rows]),
            pa.array(candidate.predicted_millijoules[rows]),
            pa.array(champion, pa.float64()),
            pa.array(candidate.block_start_seconds[rows]),
        ]
        self._kept.append(pa.table(columns, schema=TRACE_SCHEMA))

    def write(self, path: Path) -> None:
        """Write what was kept; a file without rows where nothing was."""
        rows = pa.concat_tables(self._kept) if self._kept else TRACE_SCHEMA.empty_table()
        pq.write_table(rows.unify_dictionaries(), path)
