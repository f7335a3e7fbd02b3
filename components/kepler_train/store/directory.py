"""Objects as files of a directory, on a file system that several processes may share.

A write goes to one file aside, is flushed to the disk and renamed, under a lock that the kernel releases when its
holder dies: whoever is killed leaves the old object or the new one, and nothing that stands in the next one's way.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from kepler_train.contract.errors import DamagedModel, StoreError
from kepler_train.store.objects import LARGEST_FILE_BYTES, StoredObject, digest, require_size

_LOCK = ".lock"
_LEASE = ".lease"
_INCOMING = ".incoming"
_LOCK_SECONDS = 120.0


class Directory:
    """Objects below a directory, which is made by the first write."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def address(self) -> str:
        """The directory's path."""
        return str(self._root)

    def get(self, key: str, largest_bytes: int = LARGEST_FILE_BYTES) -> StoredObject | None:
        """Read an object; its etag is its checksum."""
        with self._explained("read", key):
            try:
                with open(self._path(key), "rb", opener=_without_waiting) as file:
                    status = os.fstat(file.fileno())
                    if not stat.S_ISREG(status.st_mode):
                        raise DamagedModel(
                            f"{key} in {self.address} is no regular file; find out who put it there, and remove it"
                        )
                    require_size(status.st_size, largest_bytes, key, self.address)
                    content = file.read()
            except FileNotFoundError:
                return None
            return StoredObject(content, digest(content))

    def put_if(self, key: str, content: bytes, expected: str | None) -> bool:
        """Write an object whole or not at all, if its state is the expected one."""
        with self._explained("write", key), self._locked(_LOCK):
            current = self.get(key)
            if (current.etag if current else None) != expected:
                return False
            self._replace(self._path(key), content)
            return True

    def list(self, folder: str) -> tuple[str, ...]:
        """List all keys below a folder."""
        with self._explained("list", folder):
            files = (
                Path(parent) / name
                for parent, _, names in os.walk(self._path(folder), onerror=_unless_missing)
                for name in names
            )
            return tuple(sorted(file.relative_to(self._root).as_posix() for file in files))

    def delete(self, key: str) -> None:
        """Delete an object, and the folders that it leaves empty."""
        with self._explained("delete", key), self._locked(_LOCK):
            path = self._path(key)
            if not os.path.lexists(path):
                return
            path.unlink()
            _flush_folder(path.parent)
            with suppress(OSError):
                for folder in path.relative_to(self._root).parents[:-1]:
                    (self._root / folder).rmdir()

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep others out by a second lock."""
        return self._locked(_LEASE)

    def _path(self, key: str) -> Path:
        if key.startswith("/") or ".." in key.split("/"):
            raise StoreError(f"{key!r} leads out of the store {self.address}; find out who wrote that name there")
        return self._root / key

    def _replace(self, path: Path, content: bytes) -> None:
        self._make_folder(path.parent)
        incoming = self._root / _INCOMING
        try:
            with incoming.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            incoming.replace(path)
        except OSError:
            incoming.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            _flush_folder(folder.parent)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with self._explained("open", name):
            self._root.mkdir(parents=True, exist_ok=True)
            file = (self._root / name).open("ab")
        with file:
            until = time.monotonic() + _LOCK_SECONDS
            while not _try_lock(file.fileno()):
                if time.monotonic() > until:
                    raise StoreError(
                        f"{self.address}: another process has held {name} for {_LOCK_SECONDS:.0f} s; "
                        "if it is stopped, end it, and run again"
                    )
                time.sleep(random.uniform(0.002, 0.02))
            yield

    @contextmanager
    def _explained(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as cause:
            remedy = "correct the path or its permissions"
            if cause.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                remedy = "make room there"
            raise StoreError(
                f"cannot {action} {key} in the store {self.address}: {cause.strerror}; "
                f"{remedy}, and run again: what was served before is still served"
            ) from cause


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; and a pipe that somebody put in its place, which would keep its reader for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
