"""Versions, index and verification, the same for a directory and a bucket."""

from __future__ import annotations

from datetime import datetime, timezone

import msgspec
import pytest

from kepler_train.contract.errors import (
    BrokenContract,
    DamagedModel,
    IndexConflict,
    NotWritable,
    StoreError,
    WrongUsage,
)
from kepler_train.contract.models import INDEX_KEY, PROVENANCE_FILE, Index, Served, version_key
from kepler_train.contract.runs import RunRecord
from kepler_train.store import open_store
from kepler_train.store import store as store_module
from kepler_train.store.objects import digest
from tests.unit.store.processes import DONE, outcomes
from tests.unit.store.versions import GROUP, NAME, add, serve, version

FOLDER = version_key(GROUP, NAME, "1")


@pytest.fixture
def store(address):
    return open_store(address)


def alter(store, key: str, content: bytes | None) -> None:
    """Change an object behind the store's back; None deletes it."""
    store.objects.delete(key)
    if content is not None:
        assert store.objects.put_if(key, content, None)


def test_a_new_store_serves_nothing(store):
    assert store.read_index() == Index()
    assert store.versions(GROUP, NAME) == ()


def test_a_version_comes_back_as_it_was_added(store, tmp_path):
    added = add(store, tmp_path)
    assert store.fetch_version(GROUP, NAME, "1", tmp_path / "back") == added
    assert {file.name for file in (tmp_path / "back").iterdir()} == {*added.files, PROVENANCE_FILE}
    assert (tmp_path / "back" / "model.sav").read_bytes() == b"spline 1"
    assert (tmp_path / "back" / PROVENANCE_FILE).read_bytes() == store.provenance_of(GROUP, NAME, "1").content


def test_versions_are_listed_sorted_without_those_cut_short(store, tmp_path):
    for number in ("3", "1", "2"):
        add(store, tmp_path, number=number)
    store.objects.put_if(version_key(GROUP, NAME, "4", "model.sav"), b"cut short", None)
    add(store, tmp_path, name="spline-2", number="9")
    assert store.versions(GROUP, NAME) == ("1", "2", "3")


def test_adding_the_same_again_changes_nothing_and_answers_what_is_there(store, tmp_path):
    added = add(store, tmp_path)
    again = version(tmp_path / "again")
    later = msgspec.structs.replace(again, published=again.published.replace(year=2027))
    assert store.add_version(tmp_path / "again", later) == added
    assert store.provenance_of(GROUP, NAME, "1").provenance == added


def test_adding_again_brings_back_a_file_that_was_lost(store, tmp_path):
    add(store, tmp_path)
    store.objects.delete(FOLDER + "model.sav")
    store.add_version(tmp_path / "again", version(tmp_path / "again"))
    store.fetch_version(GROUP, NAME, "1", tmp_path / "back")


def test_a_version_cut_short_is_finished_by_adding_again(store, tmp_path):
    store.objects.put_if(FOLDER + "scaler.pkl", b"scaler", None)
    with pytest.raises(DamagedModel, match=r"provenance\.json.*is missing"):
        store.fetch_version(GROUP, NAME, "1", tmp_path / "half")
    add(store, tmp_path)
    store.fetch_version(GROUP, NAME, "1", tmp_path / "back")


def test_a_version_is_never_overwritten(store, tmp_path):
    add(store, tmp_path)
    other = version(tmp_path / "other", files={"metadata.json": b"{}", "model.sav": b"other", "more.pkl": b"more"})
    with pytest.raises(StoreError, match="already holds another model"):
        store.add_version(tmp_path / "other", other)
    assert store.objects.get(FOLDER + "model.sav").content == b"spline 1"
    assert store.objects.get(FOLDER + "more.pkl") is None


def test_files_left_by_another_content_are_not_taken_over(store, tmp_path):
    store.objects.put_if(FOLDER + "model.sav", b"of another", None)
    with pytest.raises(StoreError, match=r"model\.sav.*already holds another content"):
        add(store, tmp_path)
    assert store.versions(GROUP, NAME) == ()


def test_files_that_differ_from_their_description_are_not_stored(store, tmp_path):
    described = version(tmp_path / "version")
    (tmp_path / "version" / "model.sav").write_bytes(b"changed since")
    with pytest.raises(BrokenContract, match=r"model\.sav is not what its provenance says"):
        store.add_version(tmp_path / "version", described)
    (tmp_path / "version" / "model.sav").unlink()
    with pytest.raises(BrokenContract, match="cannot read"):
        store.add_version(tmp_path / "version", described)


def test_a_version_that_is_not_there_is_named_with_those_that_are(store, tmp_path):
    add(store, tmp_path, number="1")
    add(store, tmp_path, number="2")
    with pytest.raises(StoreError, match=r"no version 7 of CounterOnly/spline; it has 1, 2") as raised:
        store.fetch_version(GROUP, NAME, "7", tmp_path / "back")
    assert not isinstance(raised.value, DamagedModel)


@pytest.mark.parametrize(
    ("file", "content", "fact"),
    [
        ("model.sav", b"spline 0", "differs from its checksum"),
        ("model.sav", b"", "differs from its checksum"),
        ("model.sav", None, "is missing"),
        ("scaler.pkl", None, "is missing"),
        ("extra.pkl", b"extra", "was never published"),
        ("sub/extra.pkl", b"extra", "was never published"),
        (PROVENANCE_FILE, None, "is missing"),
        (PROVENANCE_FILE, b"{}", "is not a provenance"),
        (PROVENANCE_FILE, b"\xff\xfe", "is not a provenance"),
    ],
)
def test_damage_is_named_and_nothing_is_written(store, tmp_path, file, content, fact):
    add(store, tmp_path)
    alter(store, FOLDER + file, content)
    with pytest.raises(DamagedModel, match=fact) as raised:
        store.fetch_version(GROUP, NAME, "1", tmp_path / "back" / "model")
    assert FOLDER + file in str(raised.value)
    assert not [*tmp_path.glob("back/*"), *tmp_path.glob("back/.*")]


def test_a_served_version_whose_provenance_was_rewritten_is_damaged(store, tmp_path):
    added = add(store, tmp_path)
    serve(store)
    forged = msgspec.structs.replace(added, files={**added.files, "model.sav": digest(b"forged")})
    alter(store, FOLDER + "model.sav", b"forged")
    alter(store, FOLDER + PROVENANCE_FILE, forged.encode())
    with pytest.raises(DamagedModel, match=r"provenance\.json.*not the one that the index names"):
        store.fetch_version(GROUP, NAME, "1", tmp_path / "back")


def test_a_served_version_that_is_gone_is_damaged_not_unknown(store, tmp_path):
    add(store, tmp_path)
    serve(store)
    for key in store.objects.list(FOLDER):
        store.objects.delete(key)
    with pytest.raises(DamagedModel, match=r"provenance\.json.*is missing"):
        store.fetch_version(GROUP, NAME, "1", tmp_path / "back")


@pytest.mark.parametrize("file", ["../outside", "/etc/outside", "sub/inside", "..", "", ".hidden", PROVENANCE_FILE])
def test_a_provenance_with_a_path_in_it_is_refused_before_anything_is_written(store, tmp_path, file):
    hostile = msgspec.structs.replace(version(tmp_path / "version"), files={file: digest(b"x")})
    store.objects.put_if(FOLDER + PROVENANCE_FILE, hostile.encode(), None)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DamagedModel, match="no plain file name"):
        store.fetch_version(GROUP, NAME, "1", tmp_path / "back")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_provenance_of_another_model_is_damage(store, tmp_path):
    add(store, tmp_path)
    other = store.objects.get(FOLDER + PROVENANCE_FILE).content
    store.objects.put_if(version_key(GROUP, NAME, "2", PROVENANCE_FILE), other, None)
    with pytest.raises(DamagedModel, match="is that of another model"):
        store.fetch_version(GROUP, NAME, "2", tmp_path / "back")


@pytest.mark.parametrize("name", ["../other", "a/b", "", ".git", "a b"])
def test_names_with_paths_in_them_are_refused(store, tmp_path, name):
    for call in (
        lambda: store.fetch_version(GROUP, name, "1", tmp_path / "back"),
        lambda: store.fetch_version(GROUP, NAME, name, tmp_path / "back"),
        lambda: store.versions(GROUP, name),
        lambda: store.add_version(
            tmp_path / "v", msgspec.structs.replace(version(tmp_path / "v", number="5"), version=name)
        ),
    ):
        with pytest.raises(WrongUsage, match="cannot be stored"):
            call()


def test_a_version_goes_into_an_empty_folder_only(store, tmp_path):
    add(store, tmp_path)
    (tmp_path / "back").mkdir()
    store.fetch_version(GROUP, NAME, "1", tmp_path / "back")
    with pytest.raises(NotWritable, match="is it empty"):
        store.fetch_version(GROUP, NAME, "1", tmp_path / "back")


def test_an_unchanged_index_is_not_written(store):
    assert store.update_index(lambda index: index) == Index()
    assert store.objects.get(INDEX_KEY) is None


def test_each_change_of_the_index_advances_its_revision_even_one_back_to_what_was(store, tmp_path):
    add(store, tmp_path)
    serve(store)
    before, etag = store.read_index(), store.objects.get(INDEX_KEY).etag
    for retired in (("CounterOnly/spline/0",), ()):
        changed = store.update_index(lambda index, retired=retired: msgspec.structs.replace(index, retired=retired))
        assert store.update_index(lambda index: index) == changed == store.read_index()
    assert changed == msgspec.structs.replace(before, revision=before.revision + 2)
    assert not store.objects.put_if(INDEX_KEY, b"of one who read it before", etag)


def test_an_index_of_before_there_were_revisions_is_read_and_changed(store, tmp_path):
    add(store, tmp_path)
    store.objects.put_if(INDEX_KEY, b'{"schema_version": 1, "runtime": "current", "models": {}, "retired": []}', None)
    serve(store)
    assert (store.read_index().revision, store.read_index().served(GROUP, NAME).version) == (1, "1")


def test_an_error_of_the_change_ends_the_update(store, tmp_path):
    add(store, tmp_path)
    serve(store)
    before = store.objects.get(INDEX_KEY)

    def refuse(index: Index) -> Index:
        raise StoreError("no")

    with pytest.raises(StoreError, match="no"):
        store.update_index(refuse)
    assert store.objects.get(INDEX_KEY) == before


def test_a_race_that_does_not_end_is_an_index_conflict(store, tmp_path, monkeypatch):
    monkeypatch.setattr("kepler_train.store.store._INDEX_ATTEMPTS", 3)
    add(store, tmp_path)
    add(store, tmp_path, name="rival")
    rounds = iter("123456789")

    def overtaken(index: Index) -> Index:
        other = open_store_again(store)
        number = next(rounds)
        add(other, tmp_path / number, name="rival", number=number + "r")
        serve(other, name="rival", number=number + "r")
        return Index(models={**index.models, GROUP.value: {NAME: rival_of(other)}})

    def open_store_again(store):
        return type(store)(store.objects, store.keys)

    def rival_of(store) -> Served:
        return store.read_index().served(GROUP, "rival")

    with pytest.raises(IndexConflict, match="changed 3 times"):
        store.update_index(overtaken)
    assert store.read_index().served(GROUP, NAME) is None
    assert store.read_index().served(GROUP, "rival").version == "3r"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"models": 3}', b'{"models": {}, "more": 1}', b"\xff"])
def test_an_index_that_is_none_is_named(store, content):
    store.objects.put_if(INDEX_KEY, content, None)
    with pytest.raises(BrokenContract, match=r"index\.json in .*not a Index document"):
        store.read_index()


@pytest.mark.parametrize(("name", "number"), [("../../etc", "1"), (NAME, "../1"), ("a/b", "1"), (NAME, "")])
def test_an_index_with_a_path_in_it_is_refused(store, tmp_path, name, number):
    add(store, tmp_path)
    served = msgspec.structs.replace(serve(store), version=number)
    alter(store, INDEX_KEY, Index(models={GROUP.value: {name: served}}).encode())
    with pytest.raises(StoreError, match="which no publisher writes"):
        store.read_index()


def test_twenty_who_change_the_index_at_once_lose_nothing(address, tmp_path):
    names = [f"model-{number}" for number in range(20)]

    def work(name: str) -> None:
        mine = open_store(address)
        add(mine, tmp_path, name=name)
        serve(mine, name=name)

    assert outcomes([lambda name=name: work(name) for name in names]) == [DONE] * 20
    store = open_store(address)
    assert set(store.read_index().models[GROUP.value]) == set(names)
    for name in names:
        store.fetch_version(GROUP, name, "1", tmp_path / "back" / name)


def record(number: int) -> RunRecord:
    return RunRecord(
        run_id=f"202611{number:02d}T020000Z-{number}", ended=datetime(2026, 11, number, tzinfo=timezone.utc)
    )


def test_records_of_runs_come_newest_first_and_the_oldest_go(store, monkeypatch):
    monkeypatch.setattr(store_module, "MOST_RUNS", 3)
    for number in (1, 4, 2, 3):
        store.add_run(record(number))
    assert list(store.runs(10)) == [record(4), record(3), record(2)]
    assert list(store.runs(1)) == [record(4)]


def test_a_record_is_kept_once_and_what_is_none_is_passed_over(store, caplog):
    store.add_run(record(1))
    store.add_run(msgspec.structs.replace(record(1), failed=("A/x",)))
    alter(store, "runs/20261102T020000Z-2.json", b"no record")
    assert list(store.runs(10)) == [record(1)]
    assert "runs/20261102T020000Z-2.json" in caplog.text


@pytest.mark.parametrize("run_id", ["../index", "a/b", ""])
def test_a_run_id_that_leads_elsewhere_is_refused(store, run_id):
    with pytest.raises(WrongUsage, match="run id"):
        store.add_run(msgspec.structs.replace(record(1), run_id=run_id))
