"""The benchmarks of extraction and of the workflow end, tell figures that can be, and mark what was missed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks.workflow.peer import Peer
from benchmarks.workflow.processes import use_of
from benchmarks.workflow.task import Task
from benchmarks.workflow.window import START, repeated, simulate

from kepler_train.contract.tables import NODE_STAT, POD_STAT
from kepler_train.contract.window import RecordingSource, Window
from kepler_train.extract.step import run as extract

REPOSITORY = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.prometheus]


def measured(name, folder):
    """Run a benchmark quickly, check its tables against its JSON, and give the figures by row and column."""
    path = folder / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(path.read_text())["figures"]
    assert all(figure["table"] in done.stdout for figure in figures)
    assert done.stdout.count(", MISS)") == sum(figure["reached"] is False for figure in figures)
    for figure in figures:
        if figure["at_least"] is not None:
            assert figure["reached"] == (figure["value"] >= figure["at_least"])
    return {(figure["row"], figure["column"]): figure for figure in figures}


def test_extraction_is_measured_and_its_rows_are_those_stored(tmp_path):
    figures = measured("extraction", tmp_path)
    value = {key: figure["value"] for key, figure in figures.items()}
    for way in ("extract", "extract, blocks", "extract, blocks, 4 ×"):
        assert figures[way, "extracted, missing or twice"]["reached"]
        assert figures[way, "tables that differ"]["reached"]
    assert value["extract, blocks, 4 ×", "samples stored"] > 3 * value["extract", "samples stored"] > 1000
    assert value["extract, blocks, 4 ×", "counters set apart after restarts"] > 0
    assert value["fetch", "client CPU s"] < value["extract", "client CPU s"]


def test_the_workflow_is_measured_step_by_step(tmp_path):
    value = {key: figure["value"] for key, figure in measured("workflow", tmp_path).items()}
    steps = {"resolve", "extract", "assemble", "train", "evaluate", "publish", "report", "verdict", "notify"}
    assert {row for row, column in value if column == "tasks"} == steps
    beside = value["kfp.local, beside its tasks", "CPU s"]
    assert beside > 0
    assert value["all", "CPU s"] == pytest.approx(sum(value[step, "CPU s"] for step in steps) + beside)
    assert value["all", "peak MB"] > value["train", "peak MB"]
    assert value["pandas: all", "CPU s"] > value["pandas: fit", "CPU s"] > 0
    assert value["4 ×", "CPU s"] == pytest.approx(value["growth", "CPU s"] * value["1 ×", "CPU s"])


def test_what_a_process_and_its_children_use_is_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    spin = "import time\nwhile time.process_time() < 0.5: pass\n"
    (tmp_path / "spinning.py").write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {spin!r}])\nheld = bytearray(300 << 20)\n{spin}"
        "time.sleep(0.5)\n"
    )
    began = time.perf_counter()
    use = use_of("spinning", [])
    assert use.cpu_seconds >= 1.0
    assert 0.5 < use.wall_seconds <= time.perf_counter() - began
    assert 300 << 20 < use.peak_bytes < 600 << 20


def test_repeated_hours_hold_the_same_rows_each_time(tmp_path):
    window = simulate(nodes=1, pods=5, minutes=10, folder=tmp_path / "recordings")
    longer = repeated(window, 3, tmp_path / "more")
    assert longer.end - longer.start == 3 * (window.end - window.start)

    def rows(name, recordings):
        source = RecordingSource(files=tuple(map(str, recordings)))
        return extract(Window(run_id=name, source=source), tmp_path / name).rows

    once, more = rows("once", window.recordings), rows("thrice", longer.recordings)
    assert {table: more[table] for table in (POD_STAT, NODE_STAT)} == {
        table: 3 * once[table] for table in (POD_STAT, NODE_STAT)
    }


@pytest.mark.parametrize("name", ["linear", "curved", "curved-keras"])
def test_the_peer_fits_models_of_every_kind(name, tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "instance": "node1",
            "timestamp": np.repeat(np.arange(500), 4),
            "curr_cpu_time": rng.uniform(0, 1000, 2000),
            "idle": 50_000.0,
        }
    )
    frame["target"] = 40 * frame["curr_cpu_time"]
    frame["energy"] = frame["idle"] + frame.groupby("timestamp")["target"].transform("sum")
    peer = Peer(Task({"BPFOnly": (name,)}, START, START, tmp_path))
    scaler, model = peer._fit(name, frame, ["curr_cpu_time"])
    error = peer._judge(name, scaler, model, frame, ["curr_cpu_time"])
    assert error < 1e-6 if name == "linear" else error < 100
    peer._save("model", scaler, model)
    assert len(list(tmp_path.iterdir())) == 2
