"""Metrics at a real Pushgateway, and its lack."""

from __future__ import annotations

import contextlib
import socket
import time
from threading import Thread

import msgspec
import pytest

from kepler_train.contract.models import DECISION_FILE
from kepler_train.notify import gateway
from tests.pushgateway_server import PushgatewayServer
from tests.unit.store import versions

STORE = "s3://models/kepler"
PREFIX = "kepler_train_"


@pytest.fixture
def server(tmp_path):
    with PushgatewayServer(tmp_path) as running:
        yield running


def environment(server):
    return {gateway.PUSHGATEWAY_URL: server.url}


def test_a_failed_run_leaves_standing_when_the_last_one_succeeded(server):
    before = time.time()
    assert gateway.push_end(True, STORE, environment(server))
    succeeded = server.samples(PREFIX)
    assert gateway.push_end(False, STORE, environment(server))
    failed = server.samples(PREFIX)
    success, end = (f"{PREFIX}run_last_{what}_timestamp_seconds" for what in ("success", "end"))
    assert set(succeeded) == set(failed) == {success, end}
    assert failed[success] == succeeded[success]
    assert before <= failed[success][STORE,] <= failed[end][STORE,] <= time.time()


def test_the_error_is_that_of_what_is_in_service(server, tmp_path):
    champion = msgspec.structs.replace(versions.SCORE, mape_percent=versions.SCORE.mape_percent + 1)
    for name, improved in (("kept", False), ("replaced", True)):
        decision = versions.decision(versions.candidate(name), "20261122T020000Z-1a2b", improved)
        msgspec.structs.replace(decision, champion=champion).write(tmp_path / name / DECISION_FILE)
    versions.decision(versions.candidate("none"), improved=False).write(tmp_path / "none" / DECISION_FILE)
    folders = [tmp_path / name for name in ("kept", "replaced", "none")]
    assert gateway.push_errors(folders, STORE, environment(server))
    group = versions.GROUP.value
    assert server.samples(PREFIX)[f"{PREFIX}model_error_percent"] == {
        (group, "kept", STORE): champion.mape_percent,
        (group, "replaced", STORE): versions.SCORE.mape_percent,
    }


def test_without_a_gateway_nothing_is_pushed_and_one_that_is_away_is_a_warning(caplog, tmp_path):
    assert not gateway.push_end(True, STORE, {})
    assert not gateway.push_errors([tmp_path / "not-even-read"], STORE, {})
    away = {gateway.PUSHGATEWAY_URL: "http://user:secret@127.0.0.1:1"}
    assert not gateway.push_end(True, STORE, away)
    assert "does not take the run's metrics" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://user:of a gateway@push:9091", "http://push:gateway", "http://127.0.0.1:{port}"]
)
def test_an_address_that_is_none_or_of_something_else_is_a_warning_without_it(url, caplog):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=_answer_without_http, args=(listening,), daemon=True).start()
        url = url.format(port=listening.getsockname()[1])
        assert not gateway.push_end(True, STORE, {gateway.PUSHGATEWAY_URL: url})
    assert "the Pushgateway does not take the run's metrics" in caplog.text
    assert "of a gateway" not in caplog.text


def _answer_without_http(listening):
    with contextlib.suppress(OSError), listening.accept()[0] as connection:
        connection.recv(10_000)
        connection.sendall(b"SSH-2.0-OpenSSH\r\n")
