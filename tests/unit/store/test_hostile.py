"""Documents that somebody else wrote into the store: the error names the object, and nothing is written or run."""

from __future__ import annotations

import json

import pytest

from kepler_train.contract.errors import KeplerTrainError
from kepler_train.contract.models import INDEX_KEY, PROVENANCE_FILE, SIGNATURE_FILE, version_key
from kepler_train.store import open_store
from kepler_train.store.objects import LARGEST_DOCUMENT_BYTES
from tests.unit.store.versions import GROUP, NAME, add, serve

FOLDER = version_key(GROUP, NAME, "1")
DEEP = 100_000


def hostile(content: bytes) -> dict[str, bytes]:
    """A document with what no publisher writes, by kind."""
    document = json.loads(content)
    key = min(document)
    opened = content.rstrip().removesuffix(b"}")
    return {
        "unknown key": opened + b', "surprise": 1}',
        "nested arrays": opened + b', "surprise": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        "nested objects": opened + b', "surprise": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        "nested and open": b'{"surprise": ' + b"[" * DEEP,
        "not UTF-8": content.replace(b"{", b'{"\xff\xfe": 1,', 1),
        "lone surrogate": content.replace(b"{", b'{"\\ud800": 1,', 1),
        "huge number": opened + b', "schema_version": ' + b"9" * 10_000 + b"}",
        "huge text": opened + b', "surprise": "' + b"x" * 1_000_000 + b'"}',
        "larger than any": content + b" " * LARGEST_DOCUMENT_BYTES,
        "another type": json.dumps({**document, key: ["surprise"]}).encode(),
        "a newer schema": json.dumps({**document, "schema_version": 999}).encode(),
        "nothing": b"null",
        "zeros": bytes(1000),
    }


KINDS = tuple(hostile(b'{"a": 1}'))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", [INDEX_KEY, FOLDER + PROVENANCE_FILE, FOLDER + SIGNATURE_FILE])
def test_a_hostile_document_is_named_and_leaves_nothing_behind(tmp_path, file, kind):
    store = open_store(str(tmp_path / "store"))
    add(store, tmp_path)
    serve(store)
    content = hostile(store.objects.get(file).content)[kind]
    store.objects.delete(file)
    store.objects.put_if(file, content, None)
    before = sorted(tmp_path.rglob("*"))
    for read in (
        lambda: store.fetch_version(GROUP, NAME, "1", tmp_path / "back"),
        lambda: store.provenance_of(GROUP, NAME, "1"),
    ):
        with pytest.raises(KeplerTrainError) as raised:
            read()
        assert file.removesuffix(".sig") in str(raised.value)
        assert len(str(raised.value)) < 2000
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.s3
def test_an_object_larger_than_any_that_is_published_is_not_taken_into_memory(address, tmp_path):
    store = open_store(address)
    store.objects.put_if("models/a", b"x" * 1001, None)
    assert len(store.objects.get("models/a", 1001).content) == 1001
    with pytest.raises(KeplerTrainError, match=r"models/a in .* is larger than 1000 bytes"):
        store.objects.get("models/a", 1000)


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x", "a/b", "..", ".hidden", "", "a\\b", "x" * 300, "\u202egpj", "a\x00b"]
)
@pytest.mark.parametrize("place", ["group", "model", "version"])
def test_names_in_an_index_that_lead_elsewhere_are_named_and_read_nothing(tmp_path, place, name):
    store = open_store(str(tmp_path / "store"))
    add(store, tmp_path)
    serve(store)
    entry = {**json.loads(store.objects.get(INDEX_KEY).content)["models"][GROUP.value][NAME]}
    group, model = GROUP.value, NAME
    if place == "group":
        group = name
    elif place == "model":
        model = name
    else:
        entry["version"] = name
    store.objects.delete(INDEX_KEY)
    store.objects.put_if(INDEX_KEY, json.dumps({"models": {group: {model: entry}}}).encode(), None)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(KeplerTrainError, match=r"index\.json in .* names .*which no publisher writes"):
        store.read_index()
    assert sorted(tmp_path.rglob("*")) == before
