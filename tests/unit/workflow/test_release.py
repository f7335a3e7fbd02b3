"""What releases ask of Kubeflow's API, by kfp's own client against a stand-in that keeps what it is given."""

from __future__ import annotations

import re

import kfp_server_api
import pytest
import yaml

from kepler_train.contract.errors import KubeflowError, WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_workflow import release
from kepler_workflow.release import Target, schedule, submit, version_name, write_resources
from kepler_workflow.workflow import build_workflow
from tests.kubeflow_server import KubeflowServer

NIGHTLY = "0 0 2 * * *"
PARAMETERS = {"store": "s3://models/kepler", "prometheus_url": "http://prometheus:9090", "last": ["24h"]}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


@pytest.fixture
def server():
    with KubeflowServer() as running:
        yield running


@pytest.fixture(scope="module")
def workflow():
    return build_workflow({FeatureGroup.BPF_ONLY: ("linear",)})


@pytest.fixture(scope="module")
def package(workflow):
    with release.compiled(workflow) as path:
        yield path


@pytest.fixture(scope="module")
def other_package():
    with release.compiled(build_workflow({FeatureGroup.BPF_ONLY: ("concave",)})) as path:
        yield path


def test_one_recurring_run_is_made_with_all_it_needs(server, package):
    scheduled = schedule(package, Target(server.url, service_account="trainer"), "nightly", NIGHTLY, PARAMETERS)
    (run,), (version,), (pipeline,) = server.recurring_runs, server.versions, server.pipelines
    assert scheduled == release.Scheduled(run["recurring_run_id"], "created", enabled=True)
    assert pipeline["display_name"] == "kepler-train"
    assert version["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "kepler-train"
    assert "kubernetes" in version["pipeline_spec"]["platform_spec"]["platforms"]
    assert run == {
        "recurring_run_id": scheduled.recurring_run_id,
        "experiment_id": server.experiments[0]["experiment_id"],
        "display_name": "nightly",
        "mode": "ENABLE",
        "max_concurrency": "1",
        "no_catchup": True,
        "pipeline_version_reference": {
            "pipeline_id": pipeline["pipeline_id"],
            "pipeline_version_id": version["pipeline_version_id"],
        },
        "runtime_config": {"parameters": PARAMETERS},
        "service_account": "trainer",
        "trigger": {"cron_schedule": {"cron": NIGHTLY}},
    }


def test_the_same_again_changes_nothing(server, package):
    first = schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS)
    changes = list(server.changes)
    again = schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS)
    assert (again.recurring_run_id, again.change) == (first.recurring_run_id, "unchanged")
    assert server.changes == changes


@pytest.mark.parametrize("change", ["cron", "parameters", "workflow", "service account"])
def test_what_changed_replaces_the_run_before_the_old_one_goes(server, package, other_package, change):
    first = schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS)
    server.changes.clear()
    changed = schedule(
        other_package if change == "workflow" else package,
        Target(server.url, service_account="trainer" if change == "service account" else ""),
        "nightly",
        "0 0 3 * * *" if change == "cron" else NIGHTLY,
        PARAMETERS | ({"last": ["48h"]} if change == "parameters" else {}),
    )
    assert changed.change == "updated"
    assert [run["recurring_run_id"] for run in server.recurring_runs] == [changed.recurring_run_id]
    assert server.changes[-2:] == ["POST /recurringruns", f"DELETE /recurringruns/{first.recurring_run_id}"]
    assert ("POST /pipelines/upload_version" in server.changes) == (change == "workflow")
    assert len(server.pipelines) == len(server.experiments) == 1


def test_what_interruptions_left_is_one_again_and_others_are_left_alone(server, package):
    schedule(package, Target(server.url), "weekly", "0 0 2 * * 0", PARAMETERS)
    kept = schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS)
    nightly = server.recurring_runs[-1]
    for hour in "3456":
        trigger = {"cron_schedule": {"cron": f"0 0 {hour} * * *"}}
        server.recurring_runs.insert(0, {**nightly, "recurring_run_id": hour, "trigger": trigger})
    again = schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS)
    assert (again.recurring_run_id, again.change) == (kept.recurring_run_id, "unchanged")
    assert sorted(run["display_name"] for run in server.recurring_runs) == ["nightly", "weekly"]


def test_a_paused_run_stays_paused(server, package):
    schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS)
    server.recurring_runs[0]["mode"] = "DISABLE"
    assert not schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS).enabled
    assert schedule(package, Target(server.url), "nightly", "0 0 3 * * *", PARAMETERS).change == "updated"
    assert [run["mode"] for run in server.recurring_runs] == ["DISABLE"]


def test_profiles_have_their_own(package):
    with KubeflowServer(multi_user=True) as server:
        for namespace in ("energy", "research"):
            schedule(package, Target(server.url, namespace=namespace), "nightly", NIGHTLY, PARAMETERS)
    for entries in (server.pipelines, server.experiments):
        assert [entry["namespace"] for entry in entries] == ["energy", "research"]
    assert len({run["experiment_id"] for run in server.recurring_runs}) == 2


def test_a_kubeflow_of_one_user_has_no_other_namespace(server, package):
    for release_it in (
        lambda: schedule(package, Target(server.url, namespace="energy"), "nightly", NIGHTLY, PARAMETERS),
        lambda: submit(package, Target(server.url, namespace="energy"), "once", PARAMETERS),
    ):
        with pytest.raises(WrongUsage, match="not in energy; leave --namespace out"):
            release_it()
    assert server.changes == []


def test_a_recurring_run_that_somebody_made_by_hand_is_replaced(server, package):
    schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS)
    del server.recurring_runs[0]["runtime_config"]
    assert schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS).change == "updated"
    assert len(server.recurring_runs) == 1


def test_a_single_run_is_of_the_same_version(server, package):
    schedule(package, Target(server.url), "nightly", NIGHTLY, PARAMETERS)
    run_id = submit(package, Target(server.url), "once", PARAMETERS)
    (run,) = server.runs
    assert (run["run_id"], run["display_name"]) == (run_id, "once")
    assert run["pipeline_version_reference"] == server.recurring_runs[0]["pipeline_version_reference"]
    assert run["runtime_config"] == {"parameters": PARAMETERS}
    assert len(server.versions) == 1


def test_a_token_comes_from_a_file_and_its_lack_is_told(package, tmp_path, monkeypatch):
    with KubeflowServer(token="of-an-account") as server:
        with pytest.raises(KubeflowError, match=r"refused the request \(401\): no or a wrong token; give a token"):
            submit(package, Target(server.url), "once", PARAMETERS)
        monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
        with pytest.raises(WrongUsage, match="names a file that is not there"):
            submit(package, Target(server.url), "once", PARAMETERS)
        (tmp_path / "token").write_text("of-an-account")
        assert submit(package, Target(server.url), "once", PARAMETERS) == server.runs[0]["run_id"]


@pytest.mark.parametrize("namespace", ["", "energy"])
def test_a_login_page_is_no_answer(package, tmp_path, monkeypatch, namespace):
    with KubeflowServer(token="of-an-account", multi_user=True, login_page=True) as server:
        target = Target(server.url, namespace)
        for release_it in (
            lambda: schedule(package, target, "nightly", NIGHTLY, PARAMETERS),
            lambda: submit(package, target, "once", PARAMETERS),
        ):
            with pytest.raises(KubeflowError, match=f"{server.url} does not answer as Kubeflow's API.*SA_TOKEN_PATH"):
                release_it()
        (tmp_path / "token").write_text("of-an-account")
        monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
        assert submit(package, target, "once", PARAMETERS) == server.runs[0]["run_id"]


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(400, "change what it names"), (403, "give a token"), (404, "is this the address"), (503, "try again later")],
)
def test_a_refusal_is_told_with_what_to_do(server, package, monkeypatch, status, remedy):
    def refuse(*_, **__):
        raise kfp_server_api.ApiException(status, "no such cron")

    monkeypatch.setattr(release.Client, "create_recurring_run", refuse)
    with pytest.raises(KubeflowError, match=rf"\({status}\): no such cron; {remedy}"):
        schedule(package, Target(server.url), "nightly", "0 99 99 * * *", PARAMETERS)


def test_the_endpoint_may_come_from_the_environment(server, package, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
    assert submit(package, Target(), "once", PARAMETERS)


def test_an_endpoint_that_is_away_is_told(package):
    with KubeflowServer() as gone:
        url = gone.url
    with pytest.raises(KubeflowError, match=f"{url} does not answer.*KF_PIPELINES_ENDPOINT"):
        submit(package, Target(url), "once", PARAMETERS)


def test_resources_hold_the_very_workflow_in_a_version_named_after_it(package, workflow, tmp_path):
    write_resources(tmp_path / "out" / "resources.yaml", workflow, "energy")
    pipeline, version = yaml.safe_load_all((tmp_path / "out" / "resources.yaml").read_text())
    ir, platform = yaml.safe_load_all(package.read_text())
    kind = "pipelines.kubeflow.org/v2beta1"
    assert (pipeline["apiVersion"], pipeline["kind"]) == (kind, "Pipeline")
    assert pipeline["metadata"] == {"name": "kepler-train", "namespace": "energy"}
    assert (version["apiVersion"], version["kind"]) == (kind, "PipelineVersion")
    assert version["metadata"] == {"name": version_name(package), "namespace": "energy"}
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", version["metadata"]["name"])
    assert version["spec"]["pipelineName"] == "kepler-train"
    assert (version["spec"]["pipelineSpec"], version["spec"]["platformSpec"]) == (ir, platform)
