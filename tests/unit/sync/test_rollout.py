"""A rollout as Kubernetes sees it: what is asked for, what is written, and that nothing is where nothing changed.

The API server is a fake that keeps one DaemonSet, merges patches into it, and refuses on demand.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kepler_train.cli import main
from kepler_train.contract.errors import RolloutError, WrongUsage
from kepler_train.store import open_store
from kepler_train.sync.models_folder import set_version, sync
from kepler_train.sync.rollout import ANNOTATION, roll_out
from tests.unit.publish.candidates import publish

PATH = "/apis/apps/v1/namespaces/monitoring/daemonsets/kepler-exporter"
LABELS = {"app": "kepler"}


class ApiServer:
    """Answers for one DaemonSet; `refusal` is the status of all answers, where there is one."""

    def __init__(self) -> None:
        self.template = {"metadata": {"labels": LABELS, "annotations": {"prometheus.io/scrape": "true"}}}
        self.refusal = 0
        self.requests: list[tuple[str, str]] = []
        self.patches: list[dict] = []
        handler = type("Handler", (_Handler,), {"api": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def daemon_set(self) -> dict:
        metadata = {"name": "kepler-exporter", "namespace": "monitoring"}
        spec = {"selector": {"matchLabels": LABELS}, "template": self.template}
        return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec}

    @property
    def annotations(self) -> dict[str, str]:
        return self.template["metadata"]["annotations"]


class _Handler(BaseHTTPRequestHandler):
    api: ApiServer

    def _handle(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.api.requests.append((self.command, self.path))
        if self.api.refusal or self.path != PATH:
            self._answer(self.api.refusal or 404, {"kind": "Status"})
            return
        if self.command == "PATCH":
            assert self.headers["Content-Type"] == "application/strategic-merge-patch+json"
            self.api.patches.append(json.loads(content))
            annotations = self.api.template["metadata"].setdefault("annotations", {})
            annotations.update(self.api.patches[-1]["spec"]["template"]["metadata"]["annotations"])
        self._answer(200, self.api.daemon_set)

    do_GET = do_PATCH = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 (the base class looks for these names)

    def _answer(self, status: int, document: dict) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the name of the base class)
        pass


@pytest.fixture
def api(tmp_path, monkeypatch):
    server = ApiServer()
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server.server_port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "users": [user]}
    (tmp_path / "kubeconfig").write_text(json.dumps({**config, "current-context": "c"}))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_pods_are_replaced_once_for_a_set_and_not_again(api):
    assert roll_out("monitoring/kepler-exporter", "set-1") == ("", "set-1")
    assert api.annotations == {"prometheus.io/scrape": "true", ANNOTATION: "set-1"}
    assert api.patches == [{"spec": {"template": {"metadata": {"annotations": {ANNOTATION: "set-1"}}}}}]

    assert not roll_out("monitoring/kepler-exporter", "set-1").changed
    assert len(api.patches) == 1

    assert roll_out("monitoring/kepler-exporter", "set-2") == ("set-1", "set-2")
    assert api.annotations[ANNOTATION] == "set-2"


def test_no_more_is_asked_for_than_to_get_and_patch_the_one_that_is_named(api):
    roll_out("monitoring/kepler-exporter", "set-1")
    assert api.requests == [("GET", PATH), ("PATCH", PATH)]


def test_a_daemon_set_without_annotations_gets_its_first(api):
    del api.template["metadata"]["annotations"]
    assert roll_out("monitoring/kepler-exporter", "set-1").changed


@pytest.mark.parametrize(
    ("refusal", "told"),
    [(401, "renew the credentials"), (403, "allow this account to get and patch it"), (503, "try again later")],
)
def test_a_refusal_is_told_with_what_to_do(api, refusal, told):
    api.refusal = refusal
    with pytest.raises(RolloutError, match=rf"answers {refusal} .* monitoring/kepler-exporter; {told}"):
        roll_out("monitoring/kepler-exporter", "set-1")
    assert api.patches == []


def test_a_name_that_there_is_not_is_told(api):
    with pytest.raises(RolloutError, match=r"404 .* monitoring/other; is the name right"):
        roll_out("monitoring/other", "set-1")


@pytest.mark.parametrize("name", ["kepler-exporter", "/kepler-exporter", "monitoring/", "a/b/c"])
def test_a_name_that_is_none_is_refused_before_anything_is_asked(api, name):
    with pytest.raises(WrongUsage, match="write NAMESPACE/NAME"):
        roll_out(name, "set-1")
    assert api.requests == []


def test_a_cluster_that_is_away_is_told(api):
    api.server.shutdown()
    api.server.server_close()
    with pytest.raises(RolloutError, match="cannot reach Kubernetes at http://127"):
        roll_out("monitoring/kepler-exporter", "set-1")


def test_without_any_cluster_that_is_told(api, monkeypatch, tmp_path):
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "nothing"))
    with pytest.raises(RolloutError, match="set KUBECONFIG"):
        roll_out("monitoring/kepler-exporter", "set-1")


@pytest.mark.parametrize("content", ["clusters: [", "a note", "- a list"])
def test_a_kubeconfig_that_is_none_is_told(api, monkeypatch, tmp_path, content):
    (tmp_path / "other").write_text(content)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "other"))
    with pytest.raises(RolloutError, match="set KUBECONFIG"):
        roll_out("monitoring/kepler-exporter", "set-1")


def test_an_answer_that_is_no_daemon_set_is_told_and_nothing_is_written(api, monkeypatch):
    monkeypatch.setattr(_Handler, "do_GET", lambda handler: handler._answer(200, "Log in to your account"))
    with pytest.raises(RolloutError, match=r"http://127.* does not answer as Kubernetes does"):
        roll_out("monitoring/kepler-exporter", "set-1")
    assert api.patches == []


def test_the_command_names_the_set_that_a_sync_brings(api, tmp_path, capsys):
    store = str(tmp_path / "store")
    command = ["rollout", "--store", store, "--daemonset", "monitoring/kepler-exporter"]
    assert main(command) == 1
    assert "serves no model" in capsys.readouterr().err
    first = publish(tmp_path, store, "1").version

    assert main([*command, "--json", str(tmp_path / "done.json")]) == 0
    version = sync(open_store(store), "d351cbf", tmp_path / "models").version
    assert api.annotations[ANNOTATION] == version
    assert capsys.readouterr().out == f"monitoring/kepler-exporter: its pods are replaced, for set {version}\n"
    assert json.loads((tmp_path / "done.json").read_text()) == {"before": "", "version": version, "changed": True}

    assert main(command) == 0
    assert capsys.readouterr().out == f"monitoring/kepler-exporter: its pods have set {version} already\n"
    publish(tmp_path, store, "2", champion=first)
    assert main(command) == 0
    assert api.annotations[ANNOTATION] == set_version(open_store(store).read_index(), "d351cbf") != version
    assert len(api.patches) == 2
