"""What only a directory can meet: a full disk, a write killed in its middle, a path that is none."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kepler_train.contract.errors import NotWritable, StoreError
from kepler_train.contract.models import version_key
from kepler_train.store import open_store
from tests.conftest import missing
from tests.unit.store.processes import DONE, kill_self, outcome, start
from tests.unit.store.versions import GROUP, NAME, add, serve, version


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        missing("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_said_and_loses_nothing(small_disk, tmp_path):
    store = open_store(str(small_disk / "store"))
    add(store, tmp_path)
    served = serve(store)
    large = {"metadata.json": b"{}", "model.sav": os.urandom(2**21), "scaler.pkl": b""}
    with pytest.raises(StoreError, match=r"No space left on device; make room there"):
        add(store, tmp_path, number="2", files=large)
    assert store.read_index().served(GROUP, NAME) == served
    assert store.versions(GROUP, NAME) == ("1",)
    assert {path.name for path in (small_disk / "store").iterdir()} == {".lock", "index.json", "models"}
    store.fetch_version(GROUP, NAME, "1", tmp_path / "back")
    add(store, tmp_path, number="3")


def test_a_full_disk_where_a_version_goes_leaves_nothing_there(small_disk, tmp_path):
    store = open_store(str(tmp_path / "store"))
    large = {"metadata.json": b"{}", "model.sav": os.urandom(2**21), "scaler.pkl": b""}
    add(store, tmp_path, files=large)
    with pytest.raises(NotWritable, match="is there room"):
        store.fetch_version(GROUP, NAME, "1", small_disk / "back")
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("step", range(1, 6))
def test_a_write_killed_at_any_flush_leaves_the_old_or_the_new(tmp_path, step):
    objects = open_store(str(tmp_path / "store")).objects
    objects.put_if("index.json", b"old", None)
    etag = objects.get("index.json").etag

    def write_and_die() -> None:
        steps = iter(range(1, step))
        flush, replace = os.fsync, Path.replace

        def count() -> None:
            if next(steps, None) is None:
                kill_self()

        def fsync(handle: int) -> None:
            count()
            flush(handle)
            count()

        def rename(path: Path, target: Path) -> Path:
            count()
            return replace(path, target)

        os.fsync, Path.replace = fsync, rename
        objects.put_if("index.json", b"new", etag)

    assert outcome(start(write_and_die)) == -signal.SIGKILL
    content = objects.get("index.json").content
    assert content == (b"new" if step >= 4 else b"old")
    assert objects.put_if("index.json", b"next", objects.get("index.json").etag)
    assert {file.name for file in (tmp_path / "store").iterdir()} == {"index.json", ".lock"}


def test_the_lock_of_a_process_that_died_is_free(tmp_path):
    objects = open_store(str(tmp_path / "store")).objects

    def die() -> None:
        with objects._locked(".lock"):
            kill_self()

    assert outcome(start(die)) == -signal.SIGKILL
    assert objects.put_if("index.json", b"1", None)


def test_a_process_that_is_stopped_in_the_lock_is_waited_for_and_then_named(tmp_path, monkeypatch):
    monkeypatch.setattr("kepler_train.store.directory._LOCK_SECONDS", 0.2)
    objects = open_store(str(tmp_path / "store")).objects

    def stop() -> None:
        with objects._locked(".lock"):
            (tmp_path / "stopped").touch()
            os.kill(os.getpid(), signal.SIGSTOP)

    child = start(stop)
    while not (tmp_path / "stopped").exists():
        time.sleep(0.01)
    with pytest.raises(StoreError, match=r"another process has held \.lock"):
        objects.put_if("index.json", b"1", None)
    os.kill(child, signal.SIGCONT)
    assert outcome(child) == DONE
    assert objects.put_if("index.json", b"1", None)


def test_a_reader_sees_the_old_content_or_the_new_never_half(tmp_path):
    objects = open_store(str(tmp_path / "store")).objects
    objects.put_if("index.json", b"0" * 100_000, None)

    def write() -> None:
        for number in b"123456789" * 3:
            objects.put_if("index.json", bytes([number]) * 100_000, objects.get("index.json").etag)

    child = start(write)
    seen = set()
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        content = objects.get("index.json").content
        assert len(content) == 100_000
        assert len(set(content)) == 1
        seen.add(content[:1])
    assert len(seen) > 1


def test_a_pipe_in_a_files_place_is_named_and_not_waited_for(tmp_path):
    store = open_store(str(tmp_path / "store"))
    add(store, tmp_path)
    file = tmp_path / "store" / version_key(GROUP, NAME, "1", "model.sav")
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(StoreError, match=r"model\.sav in .* is no regular file; find out who put it there"):
        store.objects.get(version_key(GROUP, NAME, "1", "model.sav"))


def test_a_link_that_leads_nowhere_is_deleted(tmp_path):
    objects = open_store(str(tmp_path / "store")).objects
    objects.put_if("a/b", b"", None)
    (tmp_path / "store" / "a" / "link").symlink_to("nowhere")
    assert objects.list("a/") == ("a/b", "a/link")
    objects.delete("a/link")
    assert objects.list("a/") == ("a/b",)


def test_a_store_that_is_a_file_is_said(tmp_path):
    (tmp_path / "store").write_text("no directory")
    with pytest.raises(StoreError, match="correct the path"):
        open_store(str(tmp_path / "store")).read_index()
    with pytest.raises(StoreError, match="correct the path"):
        add(open_store(str(tmp_path / "store")), tmp_path)


def test_a_store_without_permission_is_said(tmp_path):
    folder = tmp_path / "store"
    add(open_store(str(folder)), tmp_path)
    (tmp_path).chmod(0o755)
    folder.chmod(0o555)
    described = version(tmp_path / "new", number="2")
    store = open_store(str(folder))

    def write() -> None:
        os.setuid(65534)
        with pytest.raises(StoreError, match="Permission denied; correct the path or its permissions"):
            store.add_version(tmp_path / "new", described)

    if os.geteuid() != 0:
        missing("only root can become another user")
    for parent in folder.parents[:-1]:
        parent.chmod(parent.stat().st_mode | 0o055)
    assert outcome(start(write)) == DONE


def test_what_is_stored_can_be_read_by_others_as_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        add(open_store(str(tmp_path / "store")), tmp_path)
        files = [file for file in (tmp_path / "store" / "models").rglob("*") if file.is_file()]
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}


def test_a_store_is_found_from_wherever_it_was_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store("models")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    add(store, tmp_path)
    assert (tmp_path / "models" / "models" / GROUP.value / NAME / "1" / "model.sav").is_file()


@pytest.mark.parametrize("key", ["../outside", "models/../../outside", "/etc/passwd"])
def test_a_key_that_leads_out_of_the_store_is_refused(tmp_path, key):
    objects = open_store(str(tmp_path / "store")).objects
    (tmp_path / "outside").write_text("not the store's")
    for use in (objects.get, objects.list, objects.delete, lambda key: objects.put_if(key, b"", None)):
        with pytest.raises(StoreError, match="leads out of the store"):
            use(key)
    assert (tmp_path / "outside").read_text() == "not the store's"
