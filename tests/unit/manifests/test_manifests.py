"""Every overlay as kustomize renders it, against Kubernetes' schemas, the workflow's policy and promtool."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from kepler_train.store.objects import LARGEST_DOCUMENT_BYTES, LARGEST_FILE_BYTES
from kepler_workflow import policy
from tests.conftest import missing

MANIFESTS = Path(__file__).parents[3] / "manifests"
OVERLAYS = sorted(folder.name for folder in (MANIFESTS / "overlays").iterdir())
KUBERNETES = "1.34"
OPERATORS = "monitoring.coreos.com/v1"
"""Kinds of an operator, whose schemas Kubernetes does not have."""


def kustomize() -> str:
    folder = os.environ.get("KEPLER_TRAIN_SERVERS") or str(Path.home() / ".cache" / "kepler-train" / "bin")
    found = shutil.which("kustomize", path=folder) or shutil.which("kustomize")
    if found is None:
        missing(f"no kustomize in {folder} or on the path; `make servers` builds it")
    return str(found)


@pytest.fixture(scope="module")
def rendered():
    """Overlay to its resources."""
    resources = {}
    for name in OVERLAYS:
        built = subprocess.run([kustomize(), "build", MANIFESTS / "overlays" / name], capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        assert not built.stderr, built.stderr
        resources[name] = list(yaml.safe_load_all(built.stdout))
    return resources


def of_kind(resources, kind):
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == kind}


@pytest.fixture(scope="module")
def network(rendered):
    """Name to spec of the policies of the namespace of the workflow's own."""
    policies = of_kind(rendered["profile"], "NetworkPolicy")
    return {name.removeprefix("kepler-train-"): policy["spec"] for name, policy in policies.items()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid(rendered, overlay):
    for resource in rendered[overlay]:
        if resource["apiVersion"] != OPERATORS:
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_the_schemas_refuse_what_is_wrong(rendered):
    resource = json.loads(json.dumps(rendered["profile"][0])) | {"spce": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_overlay_holds_a_secret(rendered, overlay):
    assert not of_kind(rendered[overlay], "Secret")


def test_the_namespace_enforces_pod_security_restricted(rendered):
    (namespace,) = of_kind(rendered["profile"], "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {resource["metadata"].get("namespace") for resource in rendered["profile"]} == {
        None,
        namespace["metadata"]["name"],
    }


def test_accounts_may_do_nothing_to_everything(rendered):
    for role in of_kind(rendered["profile"], "Role").values():
        for rule in role["rules"]:
            assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            if "secrets" in rule["resources"]:
                assert rule["resourceNames"]
    assert not of_kind(rendered["profile"], "ClusterRole")


def test_nothing_is_let_in_and_out_only_what_a_policy_names(network):
    assert network["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert not any("ingress" in spec for spec in network.values())
    rules = [rule for spec in network.values() for rule in spec.get("egress", [])]
    assert all(rule["ports"] for rule in rules)
    anywhere = [{port["port"] for port in rule["ports"]} for rule in rules if "to" not in rule]
    assert anywhere == [{6443}, {443, 9000}], "the API server and the bucket, wherever they are"


@pytest.mark.parametrize(
    ("name", "secret"), [("extract", policy.PROMETHEUS), ("store", policy.STORE), ("notify", policy.NOTIFY)]
)
def test_who_has_a_secret_may_reach_what_it_is_for_and_nobody_else(network, name, secret):
    labels = network[name]["podSelector"]
    let_out = {labels["matchLabels"].get("app.kubernetes.io/component")} - {None}
    for expression in labels.get("matchExpressions", []):
        let_out |= set(expression["values"])
    having = {step for step, treated in policy.POLICIES.items() if secret in treated.secrets}
    # The report reaches the Pushgateway, for which there is no secret.
    assert let_out == having | ({"report"} if name == "notify" else set())


def test_in_kubeflows_own_namespace_only_the_workflows_pods_are_meant(rendered):
    for name, resource in of_kind(rendered["kubeflow"], "NetworkPolicy").items():
        assert resource["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "kepler-train", name


@pytest.mark.parametrize("overlay", ["profile", "kubeflow"])
def test_settings_are_such_as_tasks_get(rendered, overlay):
    settings = of_kind(rendered[overlay], "ConfigMap")[policy.ADDRESSES.name]
    assert set(settings["data"]) <= {*policy.ADDRESSES.keys, *policy.SIGNING_SETTINGS.keys}
    for key, (_, folder) in {
        "KEPLER_TRAIN_SIGNING_KEY_FILE": policy.SIGNING_KEY,
        "KEPLER_TRAIN_VERIFY_KEYS_FILE": policy.VERIFY_KEYS,
    }.items():
        assert settings["data"][key].startswith(f"{folder}/")


@pytest.fixture(scope="module")
def pod(rendered):
    (daemon_set,) = of_kind(rendered["estimators"], "DaemonSet").values()
    return daemon_set["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def syncs(pod):
    """The containers of ours."""
    return [
        container
        for container in (*pod["initContainers"], *pod["containers"])
        if container["name"].startswith("kepler-train-sync")
    ]


def test_kepler_and_its_estimator_stay_as_they_were_but_for_the_models(pod):
    (original,) = yaml.safe_load_all((MANIFESTS / "overlays" / "estimators" / "kepler.yaml").read_text())
    before = {container["name"]: container for container in original["spec"]["template"]["spec"]["containers"]}
    after = {container["name"]: container for container in pod["containers"] if container["name"] in before}
    models = after["estimator"]["volumeMounts"].pop(0)
    assert models == {
        "name": "kepler-train-models",
        "mountPath": "/models/current",
        "subPath": "current",
        "readOnly": True,
    }
    assert after == before


def test_syncs_run_restricted_on_a_read_only_root_in_our_image(syncs):
    assert len(syncs) == 2
    for container in syncs:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["runAsNonRoot"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security["runAsUser"] == policy.USER_ID
        assert container["image"] == policy.read_images()["sync"]


def test_syncs_have_the_memory_to_refuse_the_largest_object_that_is_read(syncs):
    # As measured: the S3 client holds a file twice, and a document of nothing but short strings grows 24-fold.
    needed = max(3 * LARGEST_FILE_BYTES, 25 * LARGEST_DOCUMENT_BYTES)
    for container in syncs:
        limit = container["resources"]["limits"]["memory"]
        assert needed <= int(limit.removesuffix("Mi")) << 20


def test_syncs_are_commands_that_there_are(syncs, tmp_path, monkeypatch):
    from kepler_train.cli import _parser

    (settings,) = yaml.safe_load_all((MANIFESTS / "components" / "estimator-sync" / "settings.yaml").read_text())
    for container in syncs:
        text = " ".join([*container["command"], *container["args"]]).partition("kepler-train ")[2].partition(" ||")[0]
        words = re.sub(r'"?\$[({]?(\w+)[)}]?"?', lambda name: settings["data"][name[1]], text).split()
        parsed = _parser().parse_args(words)
        assert (parsed.store, parsed.dialect) == (settings["data"]["STORE"], settings["data"]["DIALECT"])
        assert str(parsed.into) == "/models"


def test_the_alert_rules_fire_when_they_should(rendered, tmp_path):
    if shutil.which("promtool") is None:
        missing("promtool is not on the path; `make servers` tells where it comes from")
    (rules,) = of_kind(rendered["monitoring"], "PrometheusRule").values()
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules["spec"]))
    shutil.copyfile(Path(__file__).parent / "rules_test.yaml", tmp_path / "rules_test.yaml")
    for words in (("check", "rules", "rules.yaml"), ("test", "rules", "rules_test.yaml")):
        run = subprocess.run(["promtool", *words], cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr


def test_the_dashboard_shows_metrics_that_there_are(rendered):
    dashboard = json.loads(
        of_kind(rendered["monitoring"], "ConfigMap")["kepler-train-dashboard"]["data"]["kepler-train.json"]
    )
    sources = [
        path.read_text()
        for folder in ("notify", "sync")
        for path in (MANIFESTS.parent / "components" / "kepler_train" / folder).glob("*.py")
    ]
    (rules,) = of_kind(rendered["monitoring"], "PrometheusRule").values()
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"]]
    metrics = {metric for expression in asked for metric in re.findall(r"kepler_train_\w+", expression)}
    assert len(metrics) >= 6
    for metric in metrics:
        name = metric.removeprefix("kepler_train_sync_").removesuffix("_total")
        assert any(name in source for source in sources), metric
