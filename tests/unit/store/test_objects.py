"""The protocol below the store, the same for a directory and a bucket."""

from __future__ import annotations

import time

import pytest

from kepler_train.contract.errors import WrongUsage
from kepler_train.store import open_store
from kepler_train.store.objects import require_plain
from tests.unit.store.processes import DONE, kill_self, outcome, outcomes, start


@pytest.fixture
def objects(address):
    return open_store(address).objects


def test_what_is_not_there_reads_as_none_and_lists_as_nothing(objects):
    assert objects.get("models/a/b") is None
    assert objects.list("models/") == ()


def test_an_object_is_created_only_where_there_is_none(objects):
    assert objects.put_if("a/b/c", b"first", None)
    assert not objects.put_if("a/b/c", b"second", None)
    assert objects.get("a/b/c").content == b"first"


def test_an_object_is_replaced_only_in_the_state_that_was_read(objects):
    objects.put_if("index.json", b"1", None)
    read = objects.get("index.json")
    assert objects.put_if("index.json", b"2", read.etag)
    assert not objects.put_if("index.json", b"3", read.etag)
    assert objects.get("index.json").content == b"2"


def test_an_object_that_was_deleted_is_not_replaced(objects):
    objects.put_if("index.json", b"1", None)
    read = objects.get("index.json")
    objects.delete("index.json")
    assert not objects.put_if("index.json", b"2", read.etag)
    assert objects.get("index.json") is None


def test_deleting_leaves_the_neighbours_and_may_be_repeated(objects):
    objects.put_if("a/x", b"x", None)
    objects.put_if("a/y", b"y", None)
    objects.delete("a/x")
    objects.delete("a/x")
    assert objects.list("a/") == ("a/y",)
    objects.delete("a/y")
    assert objects.list("a/") == ()


def test_keys_are_listed_sorted_below_a_folder_only(objects):
    for key in ("m/b/2", "m/b/1", "m/a@x/1", "mm/c"):
        objects.put_if(key, b"", None)
    assert objects.list("m/") == ("m/a@x/1", "m/b/1", "m/b/2")


def test_of_many_who_replace_the_same_state_one_wins(address):
    open_store(address).objects.put_if("index.json", b"before", None)
    etag = open_store(address).objects.get("index.json").etag

    def replace(number: int) -> None:
        if not open_store(address).objects.put_if("index.json", f"{number}".encode(), etag):
            raise ValueError

    results = outcomes([lambda number=number: replace(number) for number in range(8)], refusals=ValueError)
    assert results.count(DONE) == 1
    assert int(open_store(address).objects.get("index.json").content) == results.index(DONE)


def test_one_at_a_time_is_exclusive_and_others_follow(address, tmp_path):
    def work() -> None:
        with open_store(address).objects.exclusive():
            (tmp_path / "busy").touch(exist_ok=False)
            time.sleep(0.05)
            (tmp_path / "busy").unlink()

    assert outcomes([work] * 4) == [DONE] * 4


def test_whoever_dies_while_exclusive_shuts_nobody_out(address, monkeypatch):
    monkeypatch.setattr("kepler_train.store.s3._LEASE_SECONDS", 0.5)

    def die() -> None:
        with open_store(address).objects.exclusive():
            kill_self()

    assert outcome(start(die)) < 0
    before = time.monotonic()
    with open_store(address).objects.exclusive():
        pass
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n", "a@b", "é", "x" * 201])
def test_a_name_that_is_no_plain_file_name_is_refused(name):
    with pytest.raises(WrongUsage, match="cannot be stored"):
        require_plain("model name", name)


@pytest.mark.parametrize("name", ["additive-spline", "v1.2_3", "20261123T020000Z-aaaa-0f"])
def test_plain_names_pass(name):
    assert require_plain("version", name) == name
