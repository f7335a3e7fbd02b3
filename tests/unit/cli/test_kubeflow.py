"""Commands that meet a cluster: what they write, and what they refuse."""

from __future__ import annotations

import pytest
import yaml


def test_compile_writes_the_workflow_of_the_chosen_groups(kepler_train, tmp_path):
    code, out, _ = kepler_train("compile", "--output", "out/workflow.yaml", "--groups", "BPFOnly", "CounterOnly")
    assert (code, out) == (0, "out/workflow.yaml\n")
    compiled = (tmp_path / "out/workflow.yaml").read_text()
    assert "name: 'BPFOnly: assemble'" in compiled
    assert "Full" not in compiled


def test_compile_takes_the_clusters_wishes(kepler_train, tmp_path):
    (tmp_path / "images.json").write_text('{"steps": "mirror/steps@sha256:1"}')
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
