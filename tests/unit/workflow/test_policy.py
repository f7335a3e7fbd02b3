"""What the compiled workflow asks of Kubernetes for each task."""

from __future__ import annotations

import pytest
import yaml

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_workflow.policy import Placement, Toleration, read_images
from kepler_workflow.workflow import compile_workflow

CATALOGUE = {FeatureGroup.COUNTER_ONLY: ("linear", "concave-keras"), FeatureGroup.FULL: ("concave",)}
TASKS = 5 + 2 + 3 * 3
"""resolve, extract, report, verdict, notify; two groups' assemble; three models' train, evaluate, publish."""


def compiled(folder, placement=None):
    compile_workflow(folder / "workflow.yaml", CATALOGUE, placement)
    ir, platform = yaml.safe_load_all((folder / "workflow.yaml").read_text())
    containers = {name: executor["container"] for name, executor in ir["deploymentSpec"]["executors"].items()}
    return containers, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="module")
def pods(default):
    """Name of an executor to what Kubernetes is asked for."""
    return default[1]


def step_of(pod):
    return pod["podMetadata"]["labels"]["app.kubernetes.io/component"]


def test_every_task_is_asked_for(default, pods):
    assert set(pods) == set(default[0])
    assert len(pods) == TASKS


def test_every_task_passes_pod_security_restricted(pods):
    for name, pod in pods.items():
        assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": "10001"}, name


def test_every_task_ends_in_time_and_says_what_it_is(pods):
    for name, pod in pods.items():
        assert 0 < int(pod["activeDeadlineSeconds"]) <= 6 * 3600, name
        assert pod["podMetadata"]["labels"]["app.kubernetes.io/name"] == "kepler-train", name
        assert name.endswith(f"-{step_of(pod)}"), name


def test_a_step_sees_the_secrets_that_it_needs_and_no_other(pods):
    seen = {step_of(pod): {secret["secretName"] for secret in pod.get("secretAsEnv", [])} for pod in pods.values()}
    store, prometheus = {"kepler-train-store"}, {"kepler-train-prometheus"}
    nothing = dict.fromkeys(("resolve", "assemble", "train"), frozenset())
    assert seen == {**nothing, "extract": prometheus, "evaluate": store, "publish": store, "report": store} | {
        "verdict": store,
        "notify": store | {"kepler-train-notify"},
    }


def test_secrets_are_named_and_nothing_is_written_into_the_environment(default, pods):
    assert not any("env" in container for container in default[0].values())
    for pod in pods.values():
        for source in (*pod.get("secretAsEnv", []), *pod.get("configMapAsEnv", [])):
            assert source["optional"]
            for key in source["keyToEnv"]:
                name = next(value for field, value in key.items() if field != "envVar")
                own = f"KEPLER_TRAIN_{name}" if name.startswith("AWS_") else name
                assert key["envVar"] == own, "Kubeflow's launcher reads the usual names of the bucket's settings"


def test_images_and_place_are_those_of_the_cluster(tmp_path):
    placement = Placement(
        images={"steps": "mirror/steps@sha256:1", "runtime-current": "mirror/current@sha256:2"},
        tolerations=(Toleration("batch", "true", "NoSchedule"), Toleration("spot", "", "NoExecute")),
        node_selector={"kubernetes.io/arch": "arm64"},
        image_pull_secrets=("registry",),
    )
    containers, pods = compiled(tmp_path, placement)
    in_runtime = {name for name, container in containers.items() if container["image"] == "mirror/current@sha256:2"}
    assert in_runtime == {name for name in containers if name.endswith(("-train", "-evaluate"))}
    assert {containers[name]["image"] for name in set(containers) - in_runtime} == {"mirror/steps@sha256:1"}
    assert len(pods) == TASKS
    for pod in pods.values():
        assert pod["tolerations"] == [
            {"key": "batch", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
            {"key": "spot", "operator": "Exists", "effect": "NoExecute"},
        ]
        assert pod["nodeSelector"] == {"labels": {"kubernetes.io/arch": "arm64"}}
        assert [secret["secretName"] for secret in pod["imagePullSecret"]] == ["registry"]


def test_a_file_replaces_the_images_that_it_names(tmp_path):
    (tmp_path / "images.json").write_text('{"sync": "mirror/sync@sha256:2"}')
    assert read_images(tmp_path / "images.json") == {**read_images(), "sync": "mirror/sync@sha256:2"}


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ('{"steps": ', "cannot be read"),
        ('["mirror/steps"]', "does not say which images"),
        ('{"steps": ""}', "does not say which images"),
        ('{"stepps": "mirror/steps"}', "images that there are not: stepps; write a JSON object"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path, content, fact):
    (tmp_path / "images.json").write_text(content)
    with pytest.raises(WrongUsage, match=fact):
        read_images(tmp_path / "images.json")
