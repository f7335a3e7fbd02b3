"""What a person asks of a store by `models`: what is printed, where, and with which exit code."""

from __future__ import annotations

import json
import os

import pytest

from kepler_train.contract.models import SIGNATURE_FILE, version_key
from kepler_train.store import open_store
from tests.signing_keys import SIGNING_KEY_FILE, UNSIGNED, VERIFY_KEYS_FILE
from tests.unit.publish.candidates import GROUP, NAME, publish

MODEL = f"{GROUP.value}/{NAME}"


@pytest.fixture
def store(tmp_path):
    """Two nights' versions, the second served."""
    address = str(tmp_path / "store")
    first = publish(tmp_path, address, "1").version
    return address, first, publish(tmp_path, address, "2", champion=first).version


@pytest.fixture
def json_of(tmp_path, kepler_train):
    """Run a `models` command with `--json` and return its exit code and what it wrote."""

    def run(*words):
        code, _, _ = kepler_train("models", *words, "--json", str(tmp_path / "result.json"))
        return code, json.loads((tmp_path / "result.json").read_text())

    return run


def test_every_command_that_reports_writes_json(store, json_of):
    address, first, second = store
    code, listed = json_of("list", "--store", address)
    assert (code, listed["models"][0]["version"], len(listed["models"][0]["signed_by"])) == (0, second, 16)
    assert json_of("show", MODEL, "--store", address)[1]["parent"] == first
    assert json_of("verify", "--store", address)[1]["models"][0]["damage"] == ""
    assert json_of("rollback", MODEL, "--store", address)[1]["version"] == first
    assert json_of("prune", "--store", address)[1]["deleted"] == []


@pytest.mark.parametrize(("action", "ends", "said"), [("list", 0, "serves nothing"), ("verify", 1, "serves no model")])
def test_a_store_that_serves_nothing_is_said(tmp_path, kepler_train, action, ends, said):
    address = str(tmp_path / "mistyped")
    code, out, err = kepler_train("models", action, "--store", address)
    assert (code, out) == (ends, "")
    assert f"{address} {said}" in err
    assert not (tmp_path / "mistyped").exists()


def test_verifying_ends_red_where_a_signature_is_gone_unless_nobody_is_to_ask(store, kepler_train, monkeypatch):
    address, _, second = store
    open_store(address).objects.delete(version_key(GROUP, NAME, second, SIGNATURE_FILE))
    code, out, err = kepler_train("models", "verify", "--store", address)
    assert code == 1
    assert second in out
    assert f"{version_key(GROUP, NAME, second)}provenance.json in {address} is not signed" in err
    for name in (SIGNING_KEY_FILE, VERIFY_KEYS_FILE):
        monkeypatch.setenv(name, os.environ[name])  # put back after the test
    monkeypatch.setenv(UNSIGNED, "false")
    assert kepler_train("models", "verify", "--store", address, "--unsigned")[0] == 0


def test_without_keys_a_command_stops_and_says_what_to_set(store, kepler_train, monkeypatch):
    for name in (SIGNING_KEY_FILE, VERIFY_KEYS_FILE):
        monkeypatch.delenv(name)
    code, out, err = kepler_train("models", "list", "--store", store[0])
    assert (code, out) == (2, "")
    assert VERIFY_KEYS_FILE in err
    assert "--unsigned" in err
