"""What a container of a task is given, and what is said where none can be started."""

from __future__ import annotations

import io

import docker
import pytest

from kepler_train.contract.errors import NoContainers
from kepler_workflow.containers import Containers, environment_of


def test_a_task_sees_of_the_environment_what_its_step_gets_in_a_cluster(monkeypatch):
    everything = {
        "PROMETHEUS_PASSWORD": "of Prometheus",
        "AWS_SECRET_ACCESS_KEY": "of the bucket",
        "KEPLER_TRAIN_SIGNING_KEY_FILE": "/keys/signing.pem",
        "KEPLER_TRAIN_WEBHOOK_URL": "https://hooks.example/secret",
        "AWS_ENDPOINT_URL": "http://minio:9000",
        "HOME": "/home/somebody",
    }
    for name, value in everything.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "KEPLER_TRAIN_VERIFY_KEYS_FILE", "KEPLER_TRAIN_UNSIGNED"):
        monkeypatch.delenv(name, raising=False)
    seen = {step: set(environment_of(step)) for step in ("train", "extract", "evaluate", "publish", "notify")}
    endpoint, key = "KEPLER_TRAIN_AWS_ENDPOINT_URL", "KEPLER_TRAIN_AWS_SECRET_ACCESS_KEY"
    bucket = {endpoint, key}
    assert seen == {
        "train": set(),
        "extract": {"PROMETHEUS_PASSWORD", endpoint},
        "evaluate": bucket,
        "publish": bucket | {"KEPLER_TRAIN_SIGNING_KEY_FILE"},
        "notify": bucket | {"KEPLER_TRAIN_WEBHOOK_URL"},
    }
    assert environment_of("publish")[key] == "of the bucket"
    assert environment_of("publish")["KEPLER_TRAIN_SIGNING_KEY_FILE"] == "/keys/signing.pem"


def test_a_file_that_was_named_from_here_is_found_in_a_container(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEPLER_TRAIN_SIGNING_KEY_FILE", "keys/signing.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", "ca.pem")
    started = []

    class Client:
        containers = property(lambda client: client)

        def run(self, *_, **options):
            started.append(options)
            raise docker.errors.APIError("enough")

    Containers().run(Client(), "steps", [], {}, folder=tmp_path, step="publish", log=io.BytesIO())
    environment, mounts = started[0]["environment"], started[0]["volumes"]
    assert environment["KEPLER_TRAIN_SIGNING_KEY_FILE"] == f"{tmp_path}/keys/signing.pem"
    assert environment["KEPLER_TRAIN_AWS_CA_BUNDLE"] == f"{tmp_path}/ca.pem"
    assert {f"{tmp_path}/{file}:{tmp_path}/{file}:ro" for file in ("keys/signing.pem", "ca.pem")} <= set(mounts)


def test_without_docker_the_run_ends_before_it_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(NoContainers, match=r"no container can be started: .*; is Docker running.*make images"):
        Containers().require(["steps"])
