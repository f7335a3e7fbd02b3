"""What the simulator writes, extraction reads: whole, once, the same whether it went through a Prometheus or not."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kepler_train.contract.tables import NODE_STAT, PACKAGE, POD_STAT, SCHEMAS, SET_APART
from kepler_train.contract.window import WindowSummary, shards_of
from kepler_train.extract import resolve, step
from kepler_train.simulate import step as simulate
from kepler_train.simulate.spec import SimulationSpec
from tests.prometheus_server import PrometheusServer

START = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
END = START + timedelta(minutes=10)
SPAN = {"start": [f"{START:%Y-%m-%dT%H:%M:%SZ}"], "end": [f"{END:%Y-%m-%dT%H:%M:%SZ}"]}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Recordings of ten minutes of two nodes, with all faults that recordings have."""
    return simulate.run(
        SimulationSpec(seed=5, nodes=2, pods_per_node=8, start=START, duration_seconds=600),
        tmp_path_factory.mktemp("sim"),
    )


@pytest.fixture(scope="module")
def extracted(simulated: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[WindowSummary, Path]:
    """The window of these recordings."""
    out = tmp_path_factory.mktemp("window")
    return step.run(resolve.run(recordings=[str(file) for file in simulated], now=END, **SPAN), out), out


def rows(folder: Path, table: str) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(shard / f"{table}.parquet") for shard in shards_of(folder)
    ).unify_dictionaries()


def test_every_sample_is_a_row_or_set_apart(simulated: tuple[Path, ...], extracted: tuple[WindowSummary, Path]) -> None:
    summary, folder = extracted
    recorded = [json.loads(gzip.decompress(file.read_bytes())) for file in simulated]
    stored = sum(len(one["values"]) for content in recorded for series in content.values() for one in series)
    assert sum(summary.rows.values()) + rows(folder, SET_APART).num_rows == stored
    assert summary.missing_metrics == ()
    assert summary.nodes == ("node1", "node2")


def test_tables_are_as_the_contract_says_in_the_order_of_time(extracted: tuple[WindowSummary, Path]) -> None:
    summary, folder = extracted
    for shard in shards_of(folder):
        for table, schema in SCHEMAS.items():
            content = pq.read_table(shard / f"{table}.parquet")
            assert content.schema.equals(schema)
            times = content["timestamp"].to_pylist()
            assert times == sorted(times) or table == SET_APART
            assert all(START < time <= END for time in times)
    for table, count in summary.rows.items():
        assert rows(folder, table).num_rows == count


def test_the_pods_of_a_whole_interval_add_up_to_the_node(extracted: tuple[WindowSummary, Path]) -> None:
    _, folder = extracted
    used: dict[tuple[object, object], float] = defaultdict(float)
    for row in rows(folder, POD_STAT).select(["node", "timestamp", "curr_cpu_cycles"]).to_pylist():
        used[row["node"], row["timestamp"]] += row["curr_cpu_cycles"]
    broken = {(row["node"], row["timestamp"]) for row in rows(folder, SET_APART).to_pylist()}
    whole = [row for row in rows(folder, NODE_STAT).to_pylist() if (row["node"], row["timestamp"]) not in broken]
    assert len(whole) > 300
    assert all(used[row["node"], row["timestamp"]] == row["node_curr_cpu_cycles"] for row in whole)


def test_package_energies_are_those_of_the_node(extracted: tuple[WindowSummary, Path]) -> None:
    _, folder = extracted
    energy: dict[tuple[object, object], list[float]] = defaultdict(list)
    for row in rows(folder, PACKAGE).to_pylist():
        energy[row["node"], row["timestamp"]].append(row["package_energy_millijoules"])
    compared = 0
    for row in rows(folder, NODE_STAT).to_pylist():
        packages = energy[row["node"], row["timestamp"]]
        if len(packages) == 2:
            compared += 1
            assert sum(packages) == pytest.approx(1000 * row["node_curr_energy_in_pkg_joule"], abs=3)
    assert compared > 300


@pytest.mark.prometheus
def test_a_prometheus_gives_the_same_rows(
    simulated: tuple[Path, ...], extracted: tuple[WindowSummary, Path], tmp_path: Path
) -> None:
    server = PrometheusServer(tmp_path / "data")
    server.load_recordings(simulated)
    with server:
        step.run(resolve.run(prometheus_url=server.url, now=END, **SPAN), tmp_path / "out")
    assert [shard.name for shard in shards_of(tmp_path / "out")] == [shard.name for shard in shards_of(extracted[1])]
    for table in SCHEMAS:
        served, recorded = rows(tmp_path / "out", table).to_pylist(), rows(extracted[1], table).to_pylist()
        if table == SET_APART:
            # Prometheus stores one of two samples that are alike in all labels.
            served, recorded = ([row for row in all_ if row["reason"] != "duplicate"] for all_ in (served, recorded))
        assert served == recorded
