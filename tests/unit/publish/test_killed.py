"""Publishing cut short anywhere: killed before every single write, on a disk that fills up, by a server that dies."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from kepler_train.contract.errors import StoreError
from kepler_train.contract.models import METADATA_FILE, flat_name, version_key
from kepler_train.publish import models, step
from kepler_train.store import open_store
from tests.s3_server import MinioServer
from tests.unit.publish.candidates import GROUP, NAME, publish, write
from tests.unit.publish.serving import archives_in, assert_serves, copy_of, estimator_serves, index_serves
from tests.unit.store.addresses import DIRECTORY, S3, S3_LONG
from tests.unit.store.processes import DONE, kill_self, outcome, start

FLAT, OTHER = flat_name(GROUP, NAME), flat_name(GROUP, "other")
everywhere = pytest.mark.parametrize("address", [DIRECTORY, *S3_LONG], indirect=True)
"""Over a directory, and in long runs over both servers."""


pytestmark = pytest.mark.usefixtures("short_leases")


def killed_before(write_number: int, work, address: str) -> int:
    """Do the work in a process that kills itself before its n-th write to the store; how it ended."""

    def count_and_work() -> None:
        objects = type(open_store(address).objects)
        writes = iter(range(1, write_number))

        def counted(method):
            def call(*arguments):
                if next(writes, None) is None:
                    kill_self()
                return method(*arguments)

            return call

        objects.put_if, objects.delete = counted(objects.put_if), counted(objects.delete)
        work()

    return outcome(start(count_and_work))


def served_version(address: str, name: str = NAME) -> str:
    return open_store(address).read_index().served(GROUP, name).version


def find_served(address: str, other: dict[str, str]) -> set[str]:
    """The versions that any reader finds, each whole, while the other models are as they were."""
    store = open_store(address)
    index, estimator = index_serves(store), estimator_serves(store)
    found = {index.pop(FLAT)} | estimator.pop(FLAT)
    archives = archives_in(store)
    assert set(archives) == {f"DynPower/{GROUP.value}"}
    assert all(model.startswith((f"{NAME}@", "other@")) for model in archives.values())
    assert index == other
    assert estimator == {name: {version} for name, version in other.items()}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("address", [DIRECTORY, S3[0], S3_LONG[1]], indirect=True)
def test_killed_before_every_write_of_a_publish_the_store_serves_the_old_or_the_new(address, tmp_path):
    other = {OTHER: publish(tmp_path, address, name="other").version}
    old = publish(tmp_path, address, "0").version
    ends = []
    while DONE not in ends:
        number = len(ends) + 1
        paths = write(tmp_path / str(number), "1", champion=old, model=f"model {number}".encode())
        ends.append(killed_before(number, lambda paths=paths: step.run(*paths, address), address))
        found = find_served(address, other)
        new = step.run(*paths, address).version  # the next attempt heals
        assert found <= {old, new}
        assert_serves(address, {FLAT: new, **other})
        old = new
    assert ends == [-signal.SIGKILL] * (len(ends) - 1) + [DONE]
    assert len(ends) > 25


@everywhere
@pytest.mark.parametrize("heals", ["verify", "a run that publishes nothing"])
def test_what_a_killed_publisher_left_undone_is_done_without_publishing(address, tmp_path, heals):
    old = publish(tmp_path, address, "0").version
    ends, lagged = [], 0
    while DONE not in ends:
        paths = write(tmp_path / str(len(ends)), "1", champion=old, model=f"model {len(ends)}".encode())
        ends.append(killed_before(len(ends) + 1, lambda paths=paths: step.run(*paths, address), address))
        served = served_version(address)
        lagged += served != old and ends[-1] != DONE
        if heals == "verify":
            assert [model.damage for model in models.verify(open_store(address))] == [""]
        else:
            step.catch_up(address)
        assert_serves(address, {FLAT: served})
        old = served
    assert lagged > 10


@everywhere
def test_killed_before_every_write_of_a_rollback_the_store_serves_the_old_or_the_new(address, tmp_path):
    first = publish(tmp_path, address, "1").version
    second = publish(tmp_path, address, "2", champion=first).version
    ends = []
    while DONE not in ends:
        target = first if served_version(address) == second else second
        back = functools.partial(models.rollback, open_store(address), GROUP, NAME, target)
        ends.append(killed_before(len(ends) + 1, back, address))
        assert find_served(address, {}) <= {first, second}
        back()
        assert_serves(address, {FLAT: target})
    assert len(ends) > 15


@everywhere
def test_the_first_publish_killed_before_every_write_serves_nothing_half(address, tmp_path):
    ends = []
    paths = write(tmp_path)
    while DONE not in ends:
        empty = f"{address}-{len(ends)}"
        ends.append(killed_before(len(ends) + 1, lambda empty=empty: step.run(*paths, empty), empty))
        store = open_store(empty)
        assert set(estimator_serves(store)) <= set(index_serves(store))
        assert_serves(empty, {FLAT: step.run(*paths, empty).version})
    assert len(ends) > 10


def test_what_one_publisher_left_undone_the_publisher_of_another_model_finishes(address, tmp_path):
    old = publish(tmp_path, address, "1").version
    paths = write(tmp_path, "2", champion=old)
    number = 1
    while served_version(address) == old:
        assert killed_before(number, lambda: step.run(*paths, address), address) == -signal.SIGKILL
        number += 1
    new = served_version(address)
    assert estimator_serves(open_store(address)) == {FLAT: {old}}
    other = publish(tmp_path, address, name="other").version
    assert_serves(address, {FLAT: new, OTHER: other})


@everywhere
def test_what_stands_in_for_a_model_stays_while_the_model_cannot_be_put_in_its_place(address, tmp_path):
    old = publish(tmp_path, address, "1").version
    paths = write(tmp_path, "2", champion=old)
    number = 1
    while FLAT in copy_of(open_store(address)) and METADATA_FILE in copy_of(open_store(address))[FLAT]:
        assert killed_before(number, lambda: step.run(*paths, address), address) == -signal.SIGKILL
        number += 1
    new = served_version(address)
    open_store(address).objects.delete(version_key(GROUP, NAME, new, "model.sav"))
    publish(tmp_path, address, name="other")
    assert estimator_serves(open_store(address))[FLAT] == {new}


def test_a_disk_that_fills_up_at_any_point_costs_nothing_that_is_served(small_disk, tmp_path):
    address = str(small_disk / "store")
    ballast = small_disk / "ballast"
    old = publish(tmp_path, address, "0", model=b"0" * 60_000).version
    failures = []
    for number, free in enumerate(range(4096, 300_000, 16_384)):
        paths = write(tmp_path / str(number), "1", champion=old, model=bytes([number]) * 60_000)
        ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - free))
        try:
            step.run(*paths, address)
        except StoreError as full:
            failures.append(str(full))
        found = find_served(address, {})
        ballast.unlink()
        new = step.run(*paths, address).version
        assert found <= {old, new}
        assert_serves(address, {FLAT: new})
        shutil.rmtree(small_disk / "store" / "models" / GROUP.value / NAME / old)
        old = new
    assert 5 < len(failures) <= number
    assert all("make room there" in failure for failure in failures)


@pytest.mark.s3
def test_a_server_that_dies_while_publishing_serves_afterwards_what_it_served(tmp_path, monkeypatch):
    monkeypatch.setattr("kepler_train.store.s3._FIRST_WAIT_SECONDS", 0.001)
    with MinioServer() as server:
        server.make_bucket("models")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        address = "s3://models"
        old = publish(tmp_path, address, "1").version
        paths = write(tmp_path, "2", champion=old)
        objects = type(open_store(address).objects)
        put_if = objects.put_if

        def die(self, key: str, content: bytes, expected: str | None) -> bool:
            if key == "index.json":
                server.stop()
            return put_if(self, key, content, expected)

        monkeypatch.setattr(objects, "put_if", die)
        with pytest.raises(StoreError, match="cannot reach bucket models"):
            step.run(*paths, address)
        monkeypatch.setattr(objects, "put_if", put_if)
        server.start()
        assert_serves(address, {FLAT: old})
        new = step.run(*paths, address).version
        assert_serves(address, {FLAT: new})


def test_copies_taken_while_models_are_replaced_are_whole(tmp_path):
    """A mirror that reads the folder all the while; a copy that lacks files or fails its checksums is taken again."""
    address = str(tmp_path / "store")
    old = publish(tmp_path, address, "0").version

    def replace_again_and_again() -> None:
        champion = old
        for number in range(10):
            paths = write(tmp_path / f"n{number}", "1", champion=champion, model=f"model {number}".encode())
            champion = step.run(*paths, address).version

    child = start(replace_again_and_again)
    folder, copies, whole = Path(address) / "estimator" / "d351cbf", 0, 0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        copies += 1
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        try:
            shutil.copytree(folder, copy)
        except (shutil.Error, FileNotFoundError):
            continue
        checked = [sums.parent for sums in copy.glob("*/SHA256SUMS") if _sums_are_right(sums)]
        served = [metadata.parent for metadata in copy.glob("*/metadata.json")]
        # One that listed folders as one took another's place lacks files: it has no model at all.
        whole += bool(served) and all(model in checked for model in served)
    assert 0 < whole <= copies


def _sums_are_right(sums: Path) -> bool:
    check = ["sha256sum", "--check", "--quiet", sums.name]
    return subprocess.run(check, cwd=sums.parent, capture_output=True).returncode == 0
