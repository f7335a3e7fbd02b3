"""A lost index: nothing is lost with it, and it comes back of what estimators are given."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from kepler_train.cli import main
from kepler_train.contract.errors import DamagedModel, StoreError
from kepler_train.contract.models import INDEX_KEY, METADATA_FILE, PROVENANCE_FILE, SIGNATURE_FILE, flat_name
from kepler_train.publish import dialects, models, retention, step
from kepler_train.publish.restore import restore
from kepler_train.store import open_store
from tests.unit.publish.candidates import GROUP, NAME, publish, write
from tests.unit.publish.serving import FOLDER, assert_serves, copy_of

FLAT, OTHER = flat_name(GROUP, NAME), flat_name(GROUP, "other")


def lose_index(address: str) -> None:
    open_store(address).objects.delete(INDEX_KEY)


def test_without_its_index_a_store_publishes_and_deletes_nothing_until_it_is_restored(address, tmp_path):
    first = publish(tmp_path, address, "1").version
    second = publish(tmp_path, address, "2", champion=first).version
    other = publish(tmp_path, address, name="other").version
    store = open_store(address)
    models.rollback(store, GROUP, NAME)
    served = [(group, name, one.version, one.provenance_sha256) for group, name, one in store.read_index().entries()]
    lose_index(address)
    before = store.objects.list("")
    paths = write(tmp_path / "next", "3", champion=first)
    for use in (
        store.read_index,
        lambda: step.catch_up(address),
        lambda: step.run(*paths, address),
        lambda: models.verify(store),
        lambda: models.rollback(store, GROUP, NAME, second),
        lambda: retention.plan(store, 0, timedelta(), datetime.now(timezone.utc)),
    ):
        with pytest.raises(StoreError, match=r"has lost its index\.json, .*: kepler-train models restore"):
            use()
    assert store.objects.list("") == before
    restored = restore(store)
    assert [(group, name, one.version, one.provenance_sha256) for group, name, one in restored.entries()] == served
    assert_serves(address, {FLAT: first, OTHER: other})
    third = step.run(*paths, address).version
    assert_serves(address, {FLAT: third, OTHER: other})


def test_an_index_that_is_there_is_not_replaced(address, tmp_path):
    publish(tmp_path, address)
    store = open_store(address)
    before = store.objects.get(INDEX_KEY)
    with pytest.raises(StoreError, match=r"has an index\.json, and nothing was restored"):
        restore(store)
    assert store.objects.get(INDEX_KEY) == before


def test_who_was_overtaken_by_another_restore_replaces_nothing(tmp_path, monkeypatch):
    address = str(tmp_path / "store")
    publish(tmp_path, address)
    lose_index(address)
    given = dialects.given

    def after_another(store):
        monkeypatch.setattr(dialects, "given", given)
        restore(open_store(address))
        return given(store)

    monkeypatch.setattr(dialects, "given", after_another)
    with pytest.raises(StoreError, match="nothing was restored"):
        restore(open_store(address))


def test_a_first_publisher_that_was_killed_before_the_index_has_lost_none(address, tmp_path, monkeypatch):
    store = open_store(address)
    paths = write(tmp_path)
    with monkeypatch.context() as cut:
        cut.setattr(type(store), "update_index", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            step.run(*paths, address)
    assert store.read_index().models == {}
    assert_serves(address, {FLAT: step.run(*paths, address).version})


def test_the_first_publisher_may_come_between_the_two_looks_of_a_reader(tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "store"))
    objects = type(store.objects)
    look = objects.list

    def after_a_publish(self, folder):
        monkeypatch.setattr(objects, "list", look)
        publish(tmp_path, str(tmp_path / "store"))
        return look(self, folder)

    monkeypatch.setattr(objects, "list", after_a_publish)
    assert store.read_index().served(GROUP, NAME) is not None


@pytest.mark.parametrize("file", [PROVENANCE_FILE, SIGNATURE_FILE])
def test_what_nobody_vouches_for_is_named_and_not_served(tmp_path, file):
    address = str(tmp_path / "store")
    version = publish(tmp_path, address).version
    other = publish(tmp_path, address, name="other").version
    store = open_store(address)
    store.objects.delete(f"models/{GROUP.value}/{NAME}/{version}/{file}")
    lose_index(address)
    with pytest.raises(DamagedModel, match=f"given as {FLAT} .*; delete its folder .* and restore again"):
        restore(store)
    assert store.objects.get(INDEX_KEY) is None
    for name in copy_of(store)[FLAT]:
        store.objects.delete(f"{FOLDER}{FLAT}/{name}")
    restore(store)
    assert store.read_index().served(GROUP, NAME) is None
    assert store.read_index().served(GROUP, "other").version == other


def test_a_strangers_folder_is_named(tmp_path):
    address = str(tmp_path / "store")
    publish(tmp_path, address)
    lose_index(address)
    for folder in ("stranger", "Stranger-spline", f"{GROUP.value}-", f"{GROUP.value}-..", f"{GROUP.value}-none"):
        store = open_store(address)
        store.objects.put_if(f"{FOLDER}{folder}/{METADATA_FILE}", b"{}", None)
        with pytest.raises(DamagedModel, match=f"given as {folder} "):
            restore(store)
        store.objects.delete(f"{FOLDER}{folder}/{METADATA_FILE}")
    restore(store)


def test_a_model_of_which_there_is_only_the_folder_beside_is_restored(tmp_path):
    address = str(tmp_path / "store")
    first = publish(tmp_path, address, "1").version
    second = publish(tmp_path, address, "2", champion=first).version
    root = tmp_path / "store" / FOLDER
    (root / FLAT).rename(root / f"{FLAT}@{second}")
    lose_index(address)
    restore(open_store(address))
    step.catch_up(address)
    assert_serves(address, {FLAT: second})


def test_the_command_restores_and_lists_or_says_what_there_is_to_do(tmp_path, capsys):
    address = str(tmp_path / "store")
    version = publish(tmp_path, address).version
    lose_index(address)
    assert main(["models", "list", "--store", address]) == 1
    assert "kepler-train models restore" in capsys.readouterr().err
    assert main(["models", "restore", "--store", address]) == 0
    assert version in capsys.readouterr().out
    assert main(["models", "restore", "--store", str(tmp_path / "mistyped")]) == 1
    assert "nothing in" in capsys.readouterr().err
