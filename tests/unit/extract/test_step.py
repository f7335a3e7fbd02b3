from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kepler_train.contract.errors import SourceError, WrongUsage
from kepler_train.contract.tables import SCHEMAS
from kepler_train.contract.window import WindowSummary
from kepler_train.extract import connection, shards, step
from tests.prometheus_server import PrometheusServer
from tests.unit.extract import fault_proxy as fault
from tests.unit.extract.cluster import Cluster, asked, recorded, rows_of
from tests.unit.extract.fault_proxy import Exchange, proxy

pytestmark = pytest.mark.usefixtures("clean_environment")

Span = tuple[str, str]

EXTRACT = (
    "import sys, pathlib; from kepler_train.contract.window import Window; from kepler_train.extract import step; "
    "step.run(Window.read(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2]))"
)


@pytest.mark.prometheus
def test_an_interrupted_extraction_goes_on_where_it_was(
    served_cluster: PrometheusServer, cluster_window: Span, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_BACKOFF_SECONDS", 0.01)

    def fail_for_one_node(exchange: Exchange) -> None:
        if "node-b" in exchange.path:
            exchange.send(500, b"")
        else:
            exchange.pass_on()

    with proxy(served_cluster.url, *[fail_for_one_node] * 50, metric="pod_energy_stat") as spoiled:
        window = asked(spoiled.url, *cluster_window)
        with pytest.raises(SourceError, match="answered 500"):
            step.run(window, tmp_path / "out")
        assert [path.name.split("@")[0] for path in (tmp_path / "out" / "shards").iterdir()] == ["node-a"]
        spoiled.faults.clear()
        spoiled.seen.clear()
        summary = step.run(window, tmp_path / "out")
        assert not [query for _, query, _ in spoiled.seen if "node-a" in query]
        assert WindowSummary.read(tmp_path / "out" / "window.json") == summary
    step.run(asked(served_cluster.url, *cluster_window), tmp_path / "whole")
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["asked.json", "shards", "window.json"]


@pytest.mark.prometheus
def test_a_killed_extraction_leaves_no_half_shard(
    served_cluster: PrometheusServer, cluster_window: Span, tmp_path: Path
) -> None:
    with proxy(served_cluster.url, fault.slow(60), metric="pod_energy_stat") as spoiled:
        window = asked(spoiled.url, *cluster_window)
        window.write(tmp_path / "window")
        process = subprocess.Popen([sys.executable, "-c", EXTRACT, str(tmp_path / "window"), str(tmp_path / "out")])
        written = tmp_path / "out" / "shards"
        end = time.monotonic() + 30
        while not (written.is_dir() and any(written.iterdir())) and time.monotonic() < end:
            time.sleep(0.02)
        process.kill()
        process.wait()
        assert len(list(written.iterdir())) == 1
        assert list((tmp_path / "out" / "scratch").iterdir())
        spoiled.faults.clear()
        step.run(window, tmp_path / "out")
    step.run(asked(served_cluster.url, *cluster_window), tmp_path / "whole")
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "whole")


def test_a_folder_keeps_to_its_window(cluster: Cluster, tmp_path: Path) -> None:
    file = cluster.write(tmp_path / "recording.json")
    first, second = recorded(file, job_id="first111"), recorded(file, job_id="second22")
    step.run(first, tmp_path / "out")
    with pytest.raises(WrongUsage, match=f"holds the window of run {first.run_id}; .* empty folder to {second.run_id}"):
        step.run(second, tmp_path / "out")


def test_extracting_again_gives_the_same(cluster: Cluster, tmp_path: Path) -> None:
    window = recorded(cluster.write(tmp_path / "recording.json"))
    first = step.run(window, tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "shards").rglob("*.parquet")}
    assert step.run(window, tmp_path / "out") == first
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "shards").rglob("*.parquet")}


def test_every_shard_holds_every_table_in_its_schema_and_in_row_groups_of_bounded_size(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROW_GROUP_ROWS", 50)
    monkeypatch.setattr(shards, "_FEWEST_ROWS", 25)
    step.run(recorded(cluster.write(tmp_path / "recording.json.gz")), tmp_path / "out")
    for shard in (tmp_path / "out" / "shards").iterdir():
        assert {file.name for file in shard.iterdir()} == {f"{table}.parquet" for table in SCHEMAS}
        for table, schema in SCHEMAS.items():
            file = pq.ParquetFile(shard / f"{table}.parquet")
            assert file.schema_arrow.equals(schema)
            assert all(file.metadata.row_group(group).num_rows <= 50 for group in range(file.num_row_groups))
        assert pq.ParquetFile(shard / "pod_stat_data.parquet").num_row_groups == 3


def test_progress_is_told_with_rate_and_time_left(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "kepler_train")
    monkeypatch.setattr(step, "_SECONDS_BETWEEN_LINES", 0.0)
    step.run(recorded(cluster.write(tmp_path / "recording.json")), tmp_path / "out")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "extract: read 640 samples from recording.json"
    assert [line.split(",")[0] for line in lines[1:]] == ["extract: 1 of 2 shards", "extract: 2 of 2 shards"]
    assert lines[-1].endswith("samples/s, 0 s left")


def test_extraction_does_without_what_is_slow_to_import(cluster: Cluster, tmp_path: Path) -> None:
    recorded(cluster.write(tmp_path / "recording.json")).write(tmp_path / "window")
    program = EXTRACT + "; print({'pandas', 'matplotlib', 'sklearn', 'scipy'} & {*sys.modules})"
    command = [sys.executable, "-c", program, str(tmp_path / "window"), str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"
