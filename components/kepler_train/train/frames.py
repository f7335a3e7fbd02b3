"""A training part as the four data frames that an author's `train` takes."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kepler_train.contract.held_out import block_starts
from kepler_train.contract.parts import PARQUET, read_part
from kepler_train.contract.tables import (
    FREQUENCY,
    FREQUENCY_SCHEMA,
    NODE_INTERVALS,
    NODE_STAT_SCHEMA,
    PACKAGE,
    PACKAGE_SCHEMA,
    POD_STAT,
)
from kepler_train.contract.window import shard_node, shards_of

Blocks = frozenset[tuple[str, int]]
"""Node and start, in Unix seconds, of blocks of time."""


class Frames(NamedTuple):
    """The arguments of `train`."""

    pod_stat_data: pd.DataFrame
    node_stat_data: pd.DataFrame
    freq_data: pd.DataFrame
    pkg_data: pd.DataFrame


def frames_of(training_part: Path, max_pod_rows: int) -> tuple[Frames, tuple[str, ...]]:
    """Read a training part's frames, at most `max_pod_rows` pod rows of it, and what a person should know of that.

    A larger part is sampled by whole blocks of time of a node, always the same ones; where a single block is larger
    than allowed, that one is taken.
    """
    part = read_part(training_part)
    chosen: Blocks | None = None
    notes: tuple[str, ...] = ()
    if part.pod_rows > max_pod_rows:
        rows = _rows_by_block(training_part)
        chosen = _choose(rows, max_pod_rows)
        taken = sum(rows[block] for block in chosen)
        notes = (f"sampled: {taken} of {part.pod_rows} pod rows, {len(chosen)} of {len(rows)} blocks",)
    frames = Frames(
        read_frame(training_part, POD_STAT, None, chosen),
        read_frame(training_part, NODE_INTERVALS, NODE_STAT_SCHEMA, chosen),
        read_frame(training_part, FREQUENCY, FREQUENCY_SCHEMA, chosen),
        read_frame(training_part, PACKAGE, PACKAGE_SCHEMA, chosen),
    )
    return frames, notes


def _rows_by_block(training_part: Path) -> dict[tuple[str, int], int]:
    """How many pod rows each block of each node has."""
    rows: dict[tuple[str, int], int] = {}
    for shard in shards_of(training_part):
        node = shard_node(shard)
        with pq.ParquetFile(shard / f"{POD_STAT}{PARQUET}") as file:
            for group in range(file.num_row_groups):
                times = file.read_row_group(group, columns=["timestamp"]).column("timestamp").cast(pa.int64())
                starts, counts = np.unique(block_starts(times.to_numpy()), return_counts=True)
                for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
                    rows[node, start] = rows.get((node, start), 0) + count
    return rows


def _choose(rows: dict[tuple[str, int], int], max_pod_rows: int) -> Blocks:
    """Take blocks in an order that is as good as random, and the same in every run, while they fit."""

    def rank(block: tuple[str, int]) -> bytes:
        return blake2b(f"{block[1]} {block[0]}".encode(), digest_size=8).digest()

    chosen: list[tuple[str, int]] = []
    left = max_pod_rows
    for block in sorted(rows, key=rank):
        if rows[block] <= left or not chosen:
            chosen.append(block)
            left -= rows[block]
    return frozenset(chosen)


def read_frame(folder: Path, table: str, schema: pa.Schema | None = None, chosen: Blocks | None = None) -> pd.DataFrame:
    """Read a table of a part or a window, or its chosen blocks; an empty frame with its columns where it is not there.

    Goes row group by row group, so that what is not chosen takes no memory.
    """
    columns = schema.names if schema is not None else None
    pieces: list[pa.Table] = []
    for shard in shards_of(folder):
        path = shard / f"{table}{PARQUET}"
        if not path.is_file():
            continue
        starts = None if chosen is None else [start for node, start in chosen if node == shard_node(shard)]
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=columns)
                if starts is not None:
                    times = rows.column("timestamp").cast(pa.int64()).to_numpy()
                    rows = rows.filter(pa.array(np.isin(block_starts(times), starts)))
                pieces.append(rows)
    whole = pa.concat_tables(pieces).unify_dictionaries() if pieces else pa.table({name: [] for name in columns or ()})
    return pd.DataFrame(whole.to_pandas())
