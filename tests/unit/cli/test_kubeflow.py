"""Commands that meet a cluster: what they write, and what they refuse."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.kubeflow_server import KubeflowServer


def test_compile_writes_the_workflow_of_the_chosen_groups(kepler_train, tmp_path):
    code, out, _ = kepler_train("compile", "--output", "out/workflow.yaml", "--groups", "BPFOnly", "CounterOnly")
    assert (code, out) == (0, "out/workflow.yaml\n")
    compiled = (tmp_path / "out/workflow.yaml").read_text()
    assert "name: 'BPFOnly: assemble'" in compiled
    assert "Full" not in compiled


def test_compile_takes_the_clusters_wishes(kepler_train, tmp_path):
    (tmp_path / "images.json").write_text(
        '{"steps": "mirror/steps@sha256:1", "runtime-current": "mirror/steps@sha256:1"}'
    )
    code, *_ = kepler_train(
        *("compile", "--groups", "BPFOnly", "--images", "images.json", "--image-pull-secret", "registry"),
        *("--toleration", "batch=true:NoSchedule", "--toleration", "spot:NoExecute", "--node-selector", "disk=ssd"),
    )
    ir, platform = yaml.safe_load_all((tmp_path / "kepler-train.yaml").read_text())
    executors = ir["deploymentSpec"]["executors"].values()
    pod = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-resolve"]
    assert code == 0
    assert {executor["container"]["image"] for executor in executors} == {"mirror/steps@sha256:1"}
    assert [taint["effect"] for taint in pod["tolerations"]] == ["NoSchedule", "NoExecute"]
    assert pod["nodeSelector"] == {"labels": {"disk": "ssd"}}
    assert pod["imagePullSecret"][0]["secretName"] == "registry"


def test_compile_takes_the_number_of_extractions(kepler_train, tmp_path):
    assert kepler_train("compile", "--groups", "BPFOnly", "--extract-tasks", "2")[0] == 0
    tasks = next(yaml.safe_load_all((tmp_path / "kepler-train.yaml").read_text()))["components"]
    assert {"comp-nodes-1-of-2-extract", "comp-nodes-2-of-2-extract"} <= set(tasks)
    code, _, err = kepler_train("compile", "--groups", "BPFOnly", "--extract-tasks", "0")
    assert (code, "cannot be extracted by 0 tasks" in err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("--toleration", "batch=true"),
        ("--toleration", ":NoSchedule"),
        ("--toleration", "batch=true:Never"),
        ("--node-selector", "disk"),
        ("--node-selector", "=ssd"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(kepler_train, tmp_path, words):
    code, _, err = kepler_train("compile", *words)
    assert code == 2
    assert f"{words[1]!r} is no taint" in err or "is no label of a node" in err
    assert not any(tmp_path.iterdir())


@pytest.fixture
def kubeflow(monkeypatch):
    with KubeflowServer() as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
        monkeypatch.delenv("KF_PIPELINES_SA_TOKEN_PATH", raising=False)
        yield server


NIGHTLY = ("--groups", "BPFOnly", "--prometheus", "http://prometheus:9090", "--store", "s3://models/kepler")


def test_a_schedule_is_made_once_and_changed_when_asked(kepler_train, kubeflow, tmp_path):
    first = kepler_train("schedule", *NIGHTLY, "--last", "24h", "--json", "scheduled.json")
    again = kepler_train("schedule", *NIGHTLY, "--last", "24h")
    moved = kepler_train("schedule", *NIGHTLY, "--last", "24h", "--cron", "30 3 * * *")
    assert [code for code, *_ in (first, again, moved)] == [0, 0, 0]
    assert json.loads((tmp_path / "scheduled.json").read_text())["change"] == "created"
    assert [out.partition(" is ")[2] for _, out, _ in (first, again, moved)] == [
        "created: 0 0 2 * * *\n",
        "unchanged: 0 0 2 * * *\n",
        "updated: 0 30 3 * * *\n",
    ]
    (run,) = kubeflow.recurring_runs
    assert run["runtime_config"]["parameters"] == {
        "store": "s3://models/kepler",
        "prometheus_url": "http://prometheus:9090",
        "selector": "",
        "last": ["24h"],
    }


def test_a_run_is_submitted_for_a_time_of_the_past(kepler_train, kubeflow):
    times = ("--start", "2026-11-01T00:00:00Z", "--end", "2026-11-02T00:00:00Z", "--name", "first of November")
    code, out, _ = kepler_train("submit", *NIGHTLY, *times)
    (run,) = kubeflow.runs
    assert (code, out) == (0, f"run {run['run_id']} is submitted\n")
    assert run["display_name"] == "first of November"
    assert run["runtime_config"]["parameters"]["start"] == ["2026-11-01T00:00:00Z"]


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("--last", "24h", "--store", "models"), "would be a folder in a pod"),
        (("--last", "24h", "--cron", "daily"), "is no time of a schedule"),
        (("--last", "24h", "--prometheus", "http://user:password@prometheus"), "carries credentials"),
        ((), "no time is given"),
    ],
)
def test_what_no_run_could_use_is_refused_before_kubeflow_is_asked(kepler_train, kubeflow, words, fact):
    code, _, err = kepler_train("schedule", *NIGHTLY, *words)
    assert code == 2
    assert fact in err
    assert "password" not in err.partition("carries")[0]
    assert not kubeflow.changes
