"""The command line as a person or a script meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from datetime import datetime
from textwrap import dedent

import pytest

from kepler_train.cli import results, run
from kepler_train.simulate import step as simulate
from kepler_workflow import local
from kepler_workflow.local import Outcome

END_BEFORE_START = ["--start", "2026-11-23T02:00:00Z", "--end", "2026-11-23T01:00:00Z"]


def test_help_names_the_commands(kepler_train):
    code, out, _ = kepler_train("--help")
    assert code == 0
    assert all(command in out for command in ("run", "compile", "models", "sync", "check-pipeline", "simulate"))


def test_help_waits_for_nothing_heavy():
    heavy = {"numpy", "pyarrow", "pandas", "sklearn", "tensorflow", "kfp", "minio", "requests"}
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, kepler_train.cli; print(*sys.modules)"], capture_output=True, text=True
    ).stdout.split()
    assert "kepler_train.cli.run" in loaded
    assert not heavy & set(loaded)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run"], "--source"),
        (["run", "--source", "nonsense"], "`simulate`, `recording FILE...` or `prometheus URL`, not 'nonsense'"),
        (["run", "--source", "recording"], "not 'recording'"),
        (["run", "--source", "prometheus"], "not 'prometheus'"),
        (["run", "--source", "prometheus", "http://localhost:1"], "no time is given; say --last 24h"),
        (["run", "--source", "prometheus", "http://localhost:1", *END_BEFORE_START], "not after its start"),
        (["run", "--source", "prometheus", "http://me:secret@localhost:1", "--last", "1h"], "carries credentials"),
        (
            ["run", "--source", "simulate", "--groups", "Counters"],
            "no feature group is called 'Counters'; there are Full",
        ),
        (
            ["run", "--source", "simulate", "--runtime", "x"],
            "no runtime is called 'x'; there are current",
        ),
        (["run", "--source", "recording", "x", "--store", "s3://"], "s3://bucket/prefix"),
        (["models"], "ACTION"),
        (["models", "show", "linear"], "write GROUP/NAME"),
        (["simulate"], "--out --serve"),
        (["simulate", "--out", "x", "--scenario", "x"], "no scenario is called 'x'; there are independent, mixes"),
        (["simulate", "--out", "x", "--nodes", "0"], "nodes is 0"),
        (["simulate", "--out", "x", "--duration-seconds", "nan"], "duration_seconds is nan; a simulation needs"),
        (["simulate", "--out", "x", "--duration-seconds", "1e12"], "a simulation takes a year at most"),
        (["simulate", "--serve", "70000"], "port must be 0-65535.; choose a port from 1024 up to 65533"),
        (["run", "--source", "simulate", "--extract-tasks", "0"], "cannot be extracted by 0 tasks"),
        (["run", "--source", "simulate", "--images", "images.json"], "add --engine docker, or leave them out"),
        (["run", "--source", "simulate", "--engine", "docker", "--images", "none.json"], "read from none.json"),
        (["run", "--source", "simulate", "--selector", 'a="b"'], "with recordings leave it out"),
        (["compile", "--output", "workflow.txt"], "workflow.txt does not end in .yaml"),
        (["compile", "--output", "."], ". does not end in .yaml"),
        (["check-pipeline", "x:Y", "--json", "."], ". is a folder; name a file"),
        (["unheard-of"], "unheard-of"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_leaves_nothing(kepler_train, tmp_path, words, told):
    code, out, err = kepler_train(*words)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err
    assert "secret" not in err
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_read_is_told_before_any_work(kepler_train, tmp_path):
    (tmp_path / "models").write_text("a file")
    code, _, err = kepler_train("run", "--source", "simulate")
    assert code == 1
    assert err.startswith("kepler-train: ")
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["run", "--source", "simulate", "--runs", "file"], "file"),
        (["run", "--source", "simulate", "--store", "/proc/models"], "/proc/models"),
        (["run", "--source", "simulate", "--json", "file/outcome.json"], "file"),
        (["compile", "--output", "/proc/none/workflow.yaml"], "/proc/none"),
        (["simulate", "--out", "file"], "file"),
        (["check-pipeline", "x:Y", "--json", "/proc/none/checks.json"], "/proc/none"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_any_work(kepler_train, tmp_path, words, place):
    (tmp_path / "file").write_text("in the way")
    code, out, err = kepler_train(*words)
    assert (code, out) == (1, "")
    assert f"cannot write to {place}: " in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_runtime_that_is_not_to_be_had_is_told_before_anything_is_simulated(kepler_train, tmp_path, monkeypatch):
    monkeypatch.setenv("KEPLER_TRAIN_RUNTIME_ESTIMATOR_2022", "/none/python")
    code, _, err = kepler_train("run", "--source", "simulate", "--runtime", "estimator-2022")
    assert code == 1
    assert "cannot start /none/python" in err
    assert not (tmp_path / "runs").exists()


def test_a_fault_of_the_system_that_nobody_foresaw_is_told_without_a_traceback(kepler_train, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "recordings/node1.json.gz")

    monkeypatch.setattr(simulate, "run", full)
    code, out, err = kepler_train("simulate", "--out", "recordings")
    assert (code, out) == (1, "")
    assert "No space left on device: 'recordings/node1.json.gz'; is the path right" in err


@pytest.fixture
def ended(monkeypatch):
    """Runs end at once, with one decision; gives the folders that they were given."""
    folders = []

    def run_locally(catalogue, parameters, folder, *_, **__):
        folders.append(folder)
        return Outcome(folder, report=folder / "report.html")

    monkeypatch.setattr(local, "run_locally", run_locally)
    return folders


def test_a_result_that_cannot_be_written_for_programs_is_told_to_people_all_the_same(
    kepler_train, monkeypatch, tmp_path, ended
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(results, "write_atomically", full)
    code, out, err = kepler_train("run", "--source", "recording", "x", "--json", "outcome.json")
    assert code == 1
    assert out == f"report: {ended[0]}/report.html\n"
    assert err == "kepler-train: cannot write the result to outcome.json: No space left on device; is there room?\n"


def test_two_runs_that_begin_in_the_same_second_have_folders_of_their_own(kepler_train, monkeypatch, ended):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 11, 23, 2, tzinfo=tz)

    monkeypatch.setattr(run, "datetime", Stopped)
    for _ in range(3):
        assert kepler_train("run", "--source", "recording", "x")[0] == 0
    assert [folder.name for folder in ended] == ["20261123T020000Z", "20261123T020000Z-2", "20261123T020000Z-3"]
    assert all(folder.is_dir() for folder in ended)


def test_an_empty_store_serves_nothing(kepler_train, tmp_path):
    said = f"{tmp_path / 'models'} serves nothing\n"
    assert kepler_train("models", "list", "--json", "served.json") == (0, "", said)
    assert json.loads((tmp_path / "served.json").read_text()) == {"models": []}
    code, _, err = kepler_train("models", "show", "Full/linear")
    assert code == 1
    assert "serves no model Full/linear" in err


def test_a_simulated_window_ends_now(kepler_train, tmp_path):
    code, out, _ = kepler_train("simulate", "--out", "recordings", "--nodes", "2", "--duration-seconds", "60")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert all((tmp_path / line).is_file() for line in out.splitlines())


def test_an_authors_class_is_checked_where_it_lies(kepler_train, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "of_an_author.py").write_text(
        dedent("""
            from kepler_train.train.shipped import BpfLinear

            class Good(BpfLinear):
                model_name = "good"

            class Unnamed(BpfLinear):
                model_name = "not/a/name"
        """)
    )
    code, out, _ = kepler_train("check-pipeline", "of_an_author:Good", "--json", "good.json")
    assert code == 0
    assert len(out.splitlines()) > 5
    assert all(line.startswith("ok ") for line in out.splitlines())
    assert all(check["passed"] for check in json.loads((tmp_path / "good.json").read_text())["checks"])

    code, out, _ = kepler_train("check-pipeline", "of_an_author:Unnamed")
    assert code == 1
    assert out.splitlines()[-1].startswith("FAILED")
    assert "not/a/name" in out
