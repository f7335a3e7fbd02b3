"""Every shipped pipeline of every group, published and fetched by an estimator of each generation from a real store."""

from __future__ import annotations

import functools
import json
import threading
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.models import (
    ABS_POWER,
    DECISION_FILE,
    DYN_POWER,
    NODE_MODEL_FOLDER,
    Decision,
    Score,
    WholeNode,
    checksums_of,
    flat_name,
)
from kepler_train.contract.parts import interval_batches
from kepler_train.estimators import archive, d351cbf
from kepler_train.estimators.unix_socket import ask, listening
from kepler_train.publish import models
from kepler_train.publish import step as publish
from kepler_train.store import open_store
from kepler_train.train import step as train
from kepler_train.train.registry import pipelines_of
from tests.s3_server import shared_server
from tests.unit.train.conftest import nodes, part_of

__all__ = ["nodes", "part_of"]


@pytest.fixture
def served_over_http(tmp_path):
    """A directory store, and the address of a web server over it."""
    folder = tmp_path / "store"
    folder.mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield str(folder), f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def score(mape_percent):
    return Score(1000.0 * mape_percent, 1e6, mape_percent, 0.0, mape_percent)


def publish_trained(pipeline, part, *, address, folder, mape_percent, node_mape, champion=""):
    """Train a pipeline and publish it as if evaluation had found these errors."""
    candidate = train.run(part, pipeline, folder / "candidate")
    assert candidate.status == "trained", candidate.reason
    Decision(
        run_id=candidate.run_id,
        group=candidate.group,
        model_name=candidate.model_name,
        model_class=candidate.model_class,
        improved=True,
        reason="made for this test",
        candidate=score(mape_percent),
        champion_version=champion,
        judged_files=checksums_of(folder / "candidate"),
        whole_node=WholeNode(usable=True, reason="", score=score(node_mape)),
    ).write(folder / "decision" / DECISION_FILE)
    return publish.run(folder / "candidate", folder / "decision", address)


def urls_of(base: str, group: FeatureGroup) -> dict[str, str]:
    """What operators put into CONTAINER_TOTAL_INIT_URL and NODE_TOTAL_INIT_URL."""
    return {kind: f"{base}/estimator/archive/{kind}/{group.value}.zip" for kind in (DYN_POWER, ABS_POWER)}


def answers(urls, folder: Path, group: FeatureGroup, rows) -> tuple:
    """Start an estimator, and ask it over its socket for some pods, for one, and for their node."""
    features = [archive.archive_name(feature) for feature in group.features]
    numeric = [index for index, feature in enumerate(group.features) if feature != ARCHITECTURE]
    node = rows[:1].copy()
    node[0, numeric] = rows[:, numeric].sum(axis=0)
    with listening(archive.Estimator(urls, folder)) as socket:
        return (
            ask(socket, archive.request_for(DYN_POWER, features, rows)),
            ask(socket, archive.request_for(DYN_POWER, features, rows[:1])),
            ask(socket, archive.request_for(ABS_POWER, features, node)),
            node,
        )


@pytest.mark.slow
@pytest.mark.parametrize("group", list(FeatureGroup))
def test_each_model_answers_from_its_groups_address_as_from_its_folder(group, part_of, served_over_http, tmp_path):
    address, base = served_over_http
    rows = next(interval_batches(part_of(group))).request()[:3]
    for number, entry in enumerate(pipelines_of(group)):
        error = 9.0 - number  # each is the best when it is published
        folder = tmp_path / entry.model_name
        publish_trained(str(entry), part_of(group), address=address, folder=folder, mape_percent=error, node_mape=error)
        pods, one, node, sums = answers(urls_of(base, group), tmp_path / "unpacked", group, rows)
        served = Path(address) / "estimator" / "d351cbf" / flat_name(group, entry.model_name)
        expected = d351cbf.load(served).powers(rows)
        assert pods == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert one == pytest.approx(expected[0], rel=1e-9, abs=1e-9)
        whole = d351cbf.load(folder / "candidate" / NODE_MODEL_FOLDER, entry.model_name)
        assert node == pytest.approx(whole.powers(sums)[0], rel=1e-9)
        with urllib.request.urlopen(urls_of(base, group)[DYN_POWER]) as fetched:
            assert len(fetched.read()) > 1000


def test_the_best_of_a_group_is_fetched_from_a_bucket_whichever_way_it_came_to_be(part_of, tmp_path, monkeypatch):
    """Published, replaced by a better one, kept from a worse one, and rolled back to: over plain HTTP GETs."""
    server, group = shared_server(), FeatureGroup.COUNTER_ONLY
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.make_bucket("published")
    reading = {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"]}
    resource = ["arn:aws:s3:::published/models/estimator/archive/*"]
    policy = {"Version": "2012-10-17", "Statement": [{**reading, "Resource": resource}]}
    server.client.set_bucket_policy("published", json.dumps(policy))
    address, base = "s3://published/models", f"{server.endpoint}/published/models"
    rows = next(interval_batches(part_of(group))).request()[:3]
    serve = functools.partial(publish_trained, part=part_of(group), address=address)
    store = open_store(address)

    def served() -> list[float]:
        return answers(urls_of(base, group), tmp_path / "unpacked", group, rows)[0]

    def of(published) -> list[float]:
        into = tmp_path / published.version
        if not into.exists():
            store.fetch_version(group, published.model_name, published.version, into)
        return pytest.approx(d351cbf.load(into, published.model_name).powers(rows), rel=1e-9)

    linear = serve("CounterOnly/linear", folder=tmp_path / "linear", mape_percent=5.0, node_mape=1.0)
    assert served() == of(linear)
    concave = serve("CounterOnly/concave", folder=tmp_path / "concave", mape_percent=4.0, node_mape=2.0)
    assert served() == of(concave)
    assert served() != of(linear)
    assert b"CounterOnly-linear" in store.objects.get(f"estimator/archive/{ABS_POWER}/CounterOnly.zip").content

    serve("CounterOnly/concave", folder=tmp_path / "worse", mape_percent=6.0, node_mape=2.0, champion=concave.version)
    assert served() == of(linear)
    models.rollback(store, group, "concave")
    assert served() == of(concave)
