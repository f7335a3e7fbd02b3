"""Whatever goes wrong in a sync: the set in use stays whole, the error is named, and the next sync heals."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path

import minio.time
import pytest
import urllib3

from kepler_train.contract.errors import DamagedModel, KeplerTrainError, NotWritable, StoreError
from kepler_train.contract.models import PROVENANCE_FILE, flat_name, version_key
from kepler_train.store import Store, open_store
from kepler_train.sync.models_folder import CURRENT, find_current, sync
from tests.s3_server import shared_server
from tests.unit.publish.candidates import GROUP, NAME, publish
from tests.unit.store import faulty_proxy
from tests.unit.store.faulty_proxy import FaultyProxy
from tests.unit.store.processes import DONE, kill_self, outcome, start
from tests.unit.sync.folders import contents, sets

FLAT = flat_name(GROUP, NAME)
FILES = ("hinges.pkl", "metadata.json", "model.sav", "scaler.pkl", PROVENANCE_FILE)
_CHANGES = {"os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.link"}


class Behind:
    """A folder that is one version behind its store, and what it has to hold before and after."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.into = address, folder / "models"
        self.old = publish(folder, address, "1").version
        sync(open_store(address), "d351cbf", self.into)
        self.before = contents(self.into)
        self.new = publish(folder, address, "2", champion=self.old).version
        sync(open_store(address), "d351cbf", folder / "right")
        self.after = contents(folder / "right")

    def copy(self, number: object) -> Path:
        return Path(shutil.copytree(self.into, self.into.with_name(f"models-{number}"), symlinks=True))

    def assert_heals(self, into: Path) -> None:
        sync(open_store(self.address), "d351cbf", into)
        assert contents(into) == self.after
        assert len(sets(into)) <= 3, "the set in use, the one before, and one whose removal was cut short"
        assert not [name for name in sets(into) if name.startswith(".")]


@pytest.fixture
def behind(tmp_path):
    return Behind(str(tmp_path / "store"), tmp_path)


def sync_killed_before(change_number: int, address: str, into: Path) -> int:
    """Sync in a process that kills itself before its n-th change of the file system; how it ended."""

    def count_and_sync() -> None:
        changes = iter(range(1, change_number))

        def count(event: str, arguments: tuple) -> None:
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (event in _CHANGES or writes) and next(changes, None) is None:
                kill_self()

        sys.addaudithook(count)
        sync(open_store(address), "d351cbf", into)

    return outcome(start(count_and_sync))


@pytest.mark.slow
def test_killed_before_every_change_of_the_disk_the_old_or_the_new_set_is_in_use(behind, tmp_path):
    # The set of before the one in use goes with the new one: that, too, is cut short.
    sync(open_store(behind.address), "d351cbf", behind.into)
    publish(tmp_path, behind.address, "3", champion=behind.new)
    sync(open_store(behind.address), "d351cbf", tmp_path / "newest")
    old, new = behind.after, contents(tmp_path / "newest")
    behind.after = new
    ends, found = [], []
    while DONE not in ends:
        into = behind.copy(len(ends))
        ends.append(sync_killed_before(len(ends) + 1, behind.address, into))
        found.append(contents(into))
        assert found[-1] in (old, new)
        assert find_current(into) is not None
        behind.assert_heals(into)
        shutil.rmtree(into)
    assert ends == [-signal.SIGKILL] * (len(ends) - 1) + [DONE]
    assert found == sorted(found, key=lambda served: served == new), "from some change on, it is the new one"
    assert len(ends) > 25


def test_the_first_sync_killed_before_every_change_leaves_nothing_or_all(behind, tmp_path):
    ends = []
    while DONE not in ends:
        into = tmp_path / f"first-{len(ends)}"
        ends.append(sync_killed_before(len(ends) + 1, behind.address, into))
        assert not (into / CURRENT).exists() or contents(into) == behind.after
        behind.assert_heals(into)
        shutil.rmtree(into)
    assert len(ends) > 20


def let_through(handler) -> None:
    handler.answer(*handler.forward())


def internal_error(handler) -> None:
    """The server fails: 500, nothing done."""
    handler.send_response(500)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


FAULTS = (
    faulty_proxy.unavailable,
    internal_error,
    faulty_proxy.cut_before,
    faulty_proxy.half_body,
    faulty_proxy.not_s3,
    faulty_proxy.silent,
)
ATTEMPTS = 6


@pytest.mark.s3
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_server_that_fails_at_any_request_costs_nothing(fault, tmp_path, monkeypatch):
    server = shared_server()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("kepler_train.store.s3._FIRST_WAIT_SECONDS", 0.001)
    behind = Behind(f"s3://shared/{tmp_path.name}-{os.getpid()}", tmp_path)
    with FaultyProxy(server.endpoint) as proxy:
        proxy.method = "GET"
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        behind.assert_heals(behind.copy("counted"))
        requests = len(proxy.requests)
        assert requests > 7
        for number in range(requests):
            into = behind.copy(number)
            proxy.faults = [let_through] * number + [fault] * ATTEMPTS
            with monkeypatch.context() as impatient:
                if fault is faulty_proxy.silent:
                    impatient.setattr("kepler_train.store.s3._TIMEOUT", urllib3.Timeout(connect=5.0, read=0.1))
                with pytest.raises(KeplerTrainError, match=r"bucket shared|index\.json"):
                    sync(open_store(behind.address), "d351cbf", into)
            assert contents(into) == behind.before
            proxy.faults = []
            behind.assert_heals(into)
            shutil.rmtree(into)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("change", ["deleted", "altered"])
def test_an_object_that_changed_behind_our_back_is_named(behind, file, change):
    objects = open_store(behind.address).objects
    key = version_key(GROUP, NAME, behind.new, file)
    stored = objects.get(key)
    objects.delete(key)
    if change == "altered":
        objects.put_if(key, stored.content + b" ", None)
    with pytest.raises(DamagedModel, match=file.replace(".", r"\.")):
        sync(open_store(behind.address), "d351cbf", behind.into)
    assert contents(behind.into) == behind.before
    objects.delete(key)
    objects.put_if(key, stored.content, None)
    behind.assert_heals(behind.into)


def test_an_index_that_cannot_be_read_is_named(behind):
    objects = open_store(behind.address).objects
    stored = objects.get("index.json")
    for content in (b"", b"{", b'{"models": {"Full": {"../x": {}}}}', stored.content[:-20], b"\xff" * 100):
        objects.put_if("index.json", content, objects.get("index.json").etag)
        with pytest.raises(KeplerTrainError, match=r"index\.json"):
            sync(open_store(behind.address), "d351cbf", behind.into)
        assert contents(behind.into) == behind.before
    objects.put_if("index.json", stored.content, objects.get("index.json").etag)
    behind.assert_heals(behind.into)


def test_an_index_that_changes_between_read_and_fetch_gives_one_whole_set_and_then_the_next(
    behind, tmp_path, monkeypatch
):
    fetch_version = Store.fetch_version
    published = []

    def publish_first(self, *arguments):
        if not published:
            published.append("")  # before publishing, which reads back what it wrote
            published.append(publish(tmp_path, behind.address, "3", champion=behind.new).version)
        return fetch_version(self, *arguments)

    monkeypatch.setattr(Store, "fetch_version", publish_first)
    store = open_store(behind.address)
    assert sync(store, "d351cbf", behind.into).models[FLAT] == behind.new
    assert contents(behind.into) == behind.after
    assert sync(store, "d351cbf", behind.into).models[FLAT] == published[1]


def test_a_version_that_is_gone_before_it_is_fetched_costs_nothing(behind, monkeypatch):
    stale = open_store(behind.address).read_index()
    publish(behind.into.parent, behind.address, "3", champion=behind.new)
    shutil.rmtree(Path(behind.address) / "models" / GROUP.value / NAME / behind.new)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "read_index", lambda self: stale)
        with pytest.raises(StoreError, match=behind.new):
            sync(open_store(behind.address), "d351cbf", behind.into)
    assert contents(behind.into) == behind.before
    sync(open_store(behind.address), "d351cbf", behind.into)
    assert contents(behind.into)[FLAT]["model.sav"] == f"model of {NAME} 3".encode()


def test_a_disk_that_fills_up_at_any_point_leaves_the_old_set_whole(small_disk, tmp_path):
    behind = Behind(str(tmp_path / "store"), tmp_path)
    into = Path(shutil.copytree(behind.into, small_disk / "models", symlinks=True))
    ballast, failures = small_disk / "ballast", []
    ballast.write_bytes(b"")
    for free in range(0, 80_000, 4096):
        ballast.write_bytes(b"x" * (ballast.stat().st_size + shutil.disk_usage(small_disk).free - free))
        try:
            sync(open_store(behind.address), "d351cbf", into)
        except NotWritable as full:
            failures.append(str(full))
            assert contents(into) == behind.before
        else:
            break
    assert len(failures) > 3
    assert all("No space left on device" in failure for failure in failures)
    assert contents(into) == behind.after
    ballast.unlink()
    behind.assert_heals(into)


@pytest.mark.s3
@pytest.mark.parametrize("off", [timedelta(days=1), timedelta(days=-1)])
def test_a_clock_that_is_off_by_a_day_is_told_and_costs_nothing(tmp_path, monkeypatch, off):
    for name, value in shared_server().environment.items():
        monkeypatch.setenv(name, value)
    behind = Behind(f"s3://shared/{tmp_path.name}-{os.getpid()}", tmp_path)
    utcnow = minio.time.utcnow
    with monkeypatch.context() as patched:
        patched.setattr("minio.time.utcnow", lambda: utcnow() + off)
        with pytest.raises(StoreError, match="clock"):
            sync(open_store(behind.address), "d351cbf", behind.into)
    assert contents(behind.into) == behind.before
    behind.assert_heals(behind.into)
