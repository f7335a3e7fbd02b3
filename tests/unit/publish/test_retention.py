"""Pruning: what may be served next stays, and nobody can serve what is being deleted."""

from __future__ import annotations

import json
import signal
from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from kepler_train.cli import main
from kepler_train.contract.errors import StoreError
from kepler_train.contract.models import PROVENANCE_FILE, SIGNATURE_FILE, flat_name, version_key
from kepler_train.publish import models, retention, step
from kepler_train.publish.serving import serve_again
from kepler_train.store import open_store
from tests.unit.publish.candidates import GROUP, NAME, publish, write
from tests.unit.publish.serving import assert_serves
from tests.unit.publish.test_killed import everywhere, killed_before
from tests.unit.store import versions
from tests.unit.store.processes import DONE, outcome, start

NOW = datetime(2026, 11, 23, 2, tzinfo=timezone.utc)
DAY = timedelta(days=1)
FLAT = flat_name(GROUP, NAME)


pytestmark = pytest.mark.usefixtures("short_leases")


def keep(store, folder, number: str, days_old: float, *, parent: str = "", name: str = NAME) -> str:
    """Keep a version of an age, and return its name."""
    described = versions.version(folder / f"{name}-{number}", name, number)
    described = msgspec.structs.replace(described, published=NOW - days_old * DAY, parent=parent)
    return store.add_version(folder / f"{name}-{number}", described).version


def nights(store, folder, count: int) -> list[str]:
    """Versions of as many nights, each measured against the one before; the last is served."""
    made = [""]
    for age in range(count, 0, -1):
        made.append(keep(store, folder, f"{count - age + 1:02d}", age, parent=made[-1]))
    versions.serve(store, number=made[-1])
    return made[1:]


def kept(store, newest: int = 0, days: float = 0) -> dict[str, str]:
    planned = retention.plan(store, newest, days * DAY, NOW)
    return {one.version: one.kept_because for one in planned if one.kept_because}


def test_the_served_its_parent_and_what_was_measured_against_it_stay_whatever_is_asked(address, tmp_path):
    store = open_store(address)
    made = nights(store, tmp_path, 6)
    pending = keep(store, tmp_path, "00-late-clock", 400, parent=made[-1])
    assert kept(store) == {
        made[-1]: "served",
        made[-2]: "the way back",
        pending: "measured against what is served",
    }
    retention.prune(store, retention.plan(store, 0, 0 * DAY, NOW))
    assert store.versions(GROUP, NAME) == (pending, made[-2], made[-1])
    for version in store.versions(GROUP, NAME):
        store.fetch_version(GROUP, NAME, version, tmp_path / "back" / version)
    assert store.read_index().retired == ()


@pytest.mark.parametrize("file", [PROVENANCE_FILE, SIGNATURE_FILE])
def test_where_the_served_version_cannot_be_read_every_way_back_stays(tmp_path, file):
    store = open_store(str(tmp_path / "store"))
    made = nights(store, tmp_path, 4)
    for number in ("1", "2"):
        keep(store, tmp_path, number, 300, name="other")
    store.objects.delete(version_key(GROUP, NAME, made[-1], file))
    assert kept(store) == {made[-1]: "served", **dict.fromkeys(made[:-1], "perhaps the way back")}
    assert {one.model_name for one in retention.plan(store, 0, 0 * DAY, NOW) if not one.kept_because} == {"other"}


def test_what_was_published_by_a_clock_without_a_zone_has_an_age(tmp_path):
    store = open_store(str(tmp_path / "store"))
    described = versions.version(tmp_path / "1", number="1")
    without_zone = (NOW - 3 * DAY).replace(tzinfo=None)
    store.add_version(tmp_path / "1", msgspec.structs.replace(described, published=without_zone))
    assert kept(store, days=4) == {"1": "young"}
    assert kept(store, days=2) == {}


def test_the_newest_and_the_young_stay_and_each_name_counts_for_itself(tmp_path):
    store = open_store(str(tmp_path / "store"))
    made = nights(store, tmp_path, 12)
    other = keep(store, tmp_path, "1", 300, name="other")
    assert set(kept(store, newest=3)) == {*made[-3:], other}
    assert set(kept(store, days=5)) == set(made[-4:])
    assert set(kept(store, newest=6, days=4)) == {*made[-6:], other}


def test_what_was_cut_short_goes_once_nobody_can_be_publishing_it(tmp_path):
    store = open_store(str(tmp_path / "store"))
    for name in ("20261122T220000Z-a", "20261101T020000Z-b", "without-a-time", "99999999T999999Z-c"):
        store.objects.put_if(version_key(GROUP, NAME, name, "model.sav"), b"half", None)
    assert kept(store) == {
        "20261122T220000Z-a": "perhaps being published",
        "without-a-time": "young",
        "99999999T999999Z-c": "young",
    }
    retention.prune(store, retention.plan(store, 0, 0 * DAY, NOW))
    assert store.objects.list("models/CounterOnly/spline/20261101T020000Z-b/") == ()
    assert len(store.objects.list("models/")) == 3


def test_a_clock_that_is_off_by_a_day_costs_nothing_that_may_be_served(tmp_path):
    for off in (-DAY, DAY):
        store = open_store(str(tmp_path / f"store{off.days}"))
        made = nights(store, tmp_path / f"{off.days}", 4)
        pending = keep(store, tmp_path / f"{off.days}", "now", -off.days, parent=made[-1])
        gone = retention.prune(store, retention.plan(store, 0, DAY, NOW + off))
        assert {one.version for one in gone} <= {made[0], made[1]}
        assert {pending, made[-1], made[-2]} <= set(store.versions(GROUP, NAME))


def test_what_is_served_again_between_plan_and_deletion_stays(address, tmp_path):
    store = open_store(address)
    made = nights(store, tmp_path, 5)
    planned = retention.plan(store, 0, 0 * DAY, NOW)
    serve_again(store, GROUP, NAME, made[0], in_place_of=made[-1])
    gone = retention.prune(store, planned)
    assert made[0] not in {one.version for one in gone}
    store.fetch_version(GROUP, NAME, made[0], tmp_path / "back")


def test_nobody_can_serve_what_is_being_deleted(address, tmp_path, monkeypatch):
    """Going back is tried before every single change of a prune: it is refused, or its version stays."""
    store = open_store(address)
    made = nights(store, tmp_path, 3)
    objects = type(store.objects)
    tried = []

    def going_back_first(method):
        def call(*arguments):
            if not tried or tried[-1] != "inside":
                tried.append("inside")
                try:
                    serve_again(open_store(address), GROUP, NAME, made[0], in_place_of=made[-1])
                except StoreError as refused:
                    tried.append(str(refused))
                else:
                    tried.append("served")
            return method(*arguments)

        return call

    planned = retention.plan(store, 0, 0 * DAY, NOW)
    put_if = objects.put_if

    def after_retiring(self, key, content, expected):
        done = put_if(self, key, content, expected)
        if key == "index.json" and b'"retired": [\n' in content:
            monkeypatch.setattr(objects, "delete", going_back_first(delete))
        return done

    delete = objects.delete
    monkeypatch.setattr(objects, "put_if", after_retiring)
    retention.prune(store, planned)
    monkeypatch.undo()
    assert any("is being deleted" in said for said in tried)
    assert "served" not in tried


def test_who_was_overtaken_by_a_whole_prune_does_not_serve_what_it_deleted(address, tmp_path, monkeypatch):
    """The index names the same models before and after a prune: only its revision tells them apart."""
    store = open_store(address)
    made = nights(store, tmp_path, 4)
    objects = type(store.objects)
    put_if = objects.put_if

    def after_a_whole_prune(self, key, content, expected):
        if key == "index.json":
            monkeypatch.setattr(objects, "put_if", put_if)
            other = open_store(address)
            retention.prune(other, retention.plan(other, 0, 0 * DAY, NOW))
        return put_if(self, key, content, expected)

    monkeypatch.setattr(objects, "put_if", after_a_whole_prune)
    with pytest.raises(StoreError, match=f"no version {made[0]}"):
        serve_again(store, GROUP, NAME, made[0], in_place_of=made[-1])
    assert store.versions(GROUP, NAME) == tuple(made[-2:])
    assert store.read_index().served(GROUP, NAME).version == made[-1]


@everywhere
def test_killed_before_every_change_of_a_prune_what_is_served_stays_and_the_next_prune_ends_it(address, tmp_path):
    ends = []
    while DONE not in ends:
        store = open_store(f"{address}-{len(ends)}")
        made = nights(store, tmp_path / f"{len(ends)}", 4)
        planned = retention.plan(store, 0, 0 * DAY, NOW)
        work = lambda store=store, planned=planned: retention.prune(store, planned)  # noqa: E731
        ends.append(killed_before(len(ends) + 1, work, address))
        for version in made[-2:]:
            store.fetch_version(GROUP, NAME, version, tmp_path / "back" / f"{len(ends)}" / version)
        retention.prune(store, retention.plan(store, 0, 0 * DAY, NOW))
        assert store.versions(GROUP, NAME) == tuple(made[-2:])
        assert store.read_index().retired == ()
        assert not [key for key in store.objects.list("models/") if f"/{made[0]}/" in key]
    assert ends == [-signal.SIGKILL] * (len(ends) - 1) + [DONE]
    assert len(ends) > 10


def test_publishing_goes_on_while_others_prune_all_they_may(address, tmp_path):
    first = publish(tmp_path, address, "0").version

    def publish_again_and_again() -> None:
        champion = first
        for number in range(6):
            paths = write(tmp_path / f"n{number}", "1", champion=champion, model=f"model {number}".encode())
            champion = step.run(*paths, address).version

    def prune_again_and_again() -> None:
        store = open_store(address)
        for _ in range(12):
            planned = retention.plan(store, 0, 0 * DAY, datetime.now(timezone.utc) + 9 * DAY)
            # These runs are old: what is just being written would count as cut short long ago.
            retention.prune(store, [one for one in planned if one.is_whole])

    children = [start(publish_again_and_again), start(prune_again_and_again)]
    assert [outcome(child) for child in children] == [DONE, DONE]
    served = open_store(address).read_index().served(GROUP, NAME).version
    assert_serves(address, {FLAT: served})
    models.rollback(open_store(address), GROUP, NAME)


@pytest.mark.parametrize("retired", ["", "CounterOnly", "CounterOnly/spline", "../../etc", "CounterOnly/../1", "x/y/z"])
def test_an_index_that_would_have_more_deleted_than_a_version_is_refused(tmp_path, retired):
    store = open_store(str(tmp_path / "store"))
    made = nights(store, tmp_path, 3)
    before = store.objects.list("")
    index = msgspec.structs.replace(store.read_index(), retired=(retired,))
    store.objects.delete("index.json")
    store.objects.put_if("index.json", index.encode(), None)
    with pytest.raises(StoreError, match="which no publisher writes"):
        retention.prune(store, retention.plan(store, 0, 0 * DAY, NOW))
    assert store.objects.list("") == before
    assert made


def test_the_command_tells_first_and_deletes_only_when_told_to(tmp_path, capsys):
    address = str(tmp_path / "store")
    store = open_store(address)
    made = nights(store, tmp_path, 4)
    words = ["models", "prune", "--store", address, "--keep", "1", "--older-than", "1d"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [f"CounterOnly/spline/{version}" for version in reversed(made[:2])]
    assert "2 would be deleted; add --yes to do so; 2 kept" in told.err
    assert len(store.versions(GROUP, NAME)) == 4
    assert main([*words, "--yes", "--json", str(tmp_path / "result.json")]) == 0
    assert store.versions(GROUP, NAME) == tuple(made[2:])
    result = json.loads((tmp_path / "result.json").read_text())
    assert [one["version"] for one in result["deleted"]] == list(reversed(made[:2]))
    assert {one["version"]: one["kept_because"] for one in result["versions"]}[made[3]] == "served"
    for age in ("soon", "9999999999d", f"{'9' * 5000}d"):
        with pytest.raises(SystemExit, match="2"):
            main([*words, "--older-than", age])
