"""Documents as they were written under every schema version so far: each later kepler-train reads them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kepler_train.contract.documents import SCHEMA_VERSION, Document
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Candidate, Decision, Index, Provenance, Signature
from kepler_train.contract.parts import Part
from kepler_train.contract.runs import RunRecord
from kepler_train.contract.window import WindowSummary
from kepler_train.publish import models
from kepler_train.store import open_store
from tests.signing_keys import SIGNING_KEY_FILE, UNSIGNED, VERIFY_KEYS_FILE
from tests.unit.publish.candidates import publish

HERE = Path(__file__).parent
SCHEMAS = range(1, SCHEMA_VERSION + 1)
GROUP = FeatureGroup.BPF_ONLY
DOCUMENTS: dict[str, type[Document]] = {
    "window.json": WindowSummary,
    "training-part.json": Part,
    "held-out-part.json": Part,
    "candidate.json": Candidate,
    "decision-first.json": Decision,
    "decision-with-champion.json": Decision,
    "signature.json": Signature,
    "run-record.json": RunRecord,
    "store/index.json": Index,
    "store/models/BPFOnly/*/*/provenance.json": Provenance,
}


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_of_every_schema_are_read(schema, name):
    files = list((HERE / f"schema-{schema}").glob(name))
    assert files
    for file in files:
        document = DOCUMENTS[name].read(file)
        assert DOCUMENTS[name].decode(document.encode(), "what was written again") == document


def test_what_a_document_of_the_first_schema_says_is_understood():
    folder = HERE / "schema-1"
    first = Decision.read(folder / "decision-first.json")
    later = Decision.read(folder / "decision-with-champion.json")
    assert (first.group, first.model_name, first.improved, first.champion_version) == (GROUP, "linear", True, "")
    assert (later.improved, later.champion_version) == (False, "20261123T210105Z-53b3-3ea51068")
    assert len(first.blocks) == first.held_out["blocks"] == 11
    assert Candidate.read(folder / "candidate.json").runtime["sklearn"] == "1.9.1"
    assert WindowSummary.read(folder / "window.json").nodes == ("node1", "node2", "node3")
    assert Part.read(folder / "training-part.json").group is GROUP


@pytest.fixture
def unsigned(monkeypatch):
    """Stores of the first schema were published before there were signatures."""
    monkeypatch.delenv(SIGNING_KEY_FILE)
    monkeypatch.delenv(VERIFY_KEYS_FILE)
    monkeypatch.setenv(UNSIGNED, "true")


def test_a_store_of_the_first_schema_is_read_served_and_published_to(unsigned, tmp_path):
    shutil.copytree(HERE / "schema-1" / "store", tmp_path / "store")
    address = str(tmp_path / "store")
    store = open_store(address)
    served = models.list_served(store)
    assert [(model.model_name, model.damage, model.signed_by) for model in served] == [
        ("curved", "", ""),
        ("linear", "", ""),
    ]
    for model in served:
        store.fetch_version(GROUP, model.model_name, model.version, tmp_path / model.model_name)
    published = publish(tmp_path, address)
    index = store.read_index()
    assert index.served(published.group, published.model_name).version == published.version
    assert models.rollback(store, GROUP, "linear", served[1].version).version == served[1].version
