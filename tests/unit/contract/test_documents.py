import json
import os

import pytest

from kepler_train.contract.documents import write_atomically
from kepler_train.contract.errors import BrokenContract
from kepler_train.contract.models import Candidate, Index, Served
from kepler_train.contract.window import RecordingSource, Window


def test_a_document_survives_writing_and_reading(tmp_path):
    window = Window(run_id="r", source=RecordingSource(files=("a.json",)))
    window.write(tmp_path / "window.json")
    assert Window.read(tmp_path / "window.json") == window


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"run_id": 3}', b"\xff\xfe", b'{"models": {}, "unknown": 1}', b'{"models": {"a": 1}}'],
)
def test_what_is_no_such_document_is_refused_and_named(content):
    with pytest.raises(BrokenContract, match="the-place is not a Index document"):
        Index.decode(content, origin="the-place")


def test_a_missing_document_names_the_file(tmp_path):
    with pytest.raises(BrokenContract, match=r"index\.json: No such file"):
        Index.read(tmp_path / "index.json")


def test_a_document_says_its_schema_version():
    assert json.loads(Index().encode())["schema_version"] == 1


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "index.json"
    write_atomically(path, b"old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_index_tells_what_is_served():
    from datetime import datetime, timezone

    from kepler_train.contract.features import FeatureGroup

    served = Served(version="v", published=datetime(2026, 1, 1, tzinfo=timezone.utc), provenance_sha256="0")
    index = Index(models={"CounterOnly": {"linear": served}})
    assert index.served(FeatureGroup.COUNTER_ONLY, "linear") == served
    assert index.served(FeatureGroup.COUNTER_ONLY, "other") is None
    assert index.served(FeatureGroup.FULL, "linear") is None


def test_a_document_of_a_newer_schema_is_refused_as_such():
    with pytest.raises(BrokenContract, match="schema version 2, newer than 1; use the kepler-train that wrote it"):
        Index.decode(b'{"schema_version": 2, "models": {}, "later": []}', origin="index.json")


def test_a_written_file_can_be_read_by_others_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "page.html", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o644


def test_a_candidate_of_a_version_that_said_less_is_read():
    content = {
        "schema_version": 1,
        "run_id": "r",
        "window": {"schema_version": 1, "run_id": "r", "source": {"kind": "recording", "files": []}},
        "group": "CounterOnly",
        "model_name": "concave",
        "model_class": "scikit",
        "features": ["curr_cache_miss"],
        "status": "trained",
        "idle_millijoules": {"node1": 150000.0},
        "identifiability": {"condition": 14.2},
    }
    candidate = Candidate.decode(json.dumps(content).encode(), origin="candidate.json")
    assert candidate.idle_of("node1") == 150000.0
    assert candidate.idle_evidence == {}
