"""JSON documents at the doors: strict structs that carry a schema version, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
from typing_extensions import Self

from kepler_train.contract.errors import BrokenContract, NotWritable

D = TypeVar("D", bound="Document")


SCHEMA_VERSION = 1
"""Raised by one when a field changes its meaning or is taken away. A field that is added has a default.

To raise it: keep what the last version wrote, from a real run, as `tests/golden/schema-<old>/`; raise the number; where
`decode` meets the old one, change its plain JSON into the new form before it is read, and never a stored file; run
`tests/golden/test_schemas.py`, which reads every schema there was. What is stored stays as it was written and signed.
"""


class _Head(msgspec.Struct):
    schema_version: int = SCHEMA_VERSION


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what is written as JSON for another step, or another version of this project, to read."""

    schema_version: int = SCHEMA_VERSION

    def write(self, path: Path) -> None:
        """Write as JSON to `path` in one step: a reader sees the old file or the new one, never half."""
        write_atomically(path, self.encode())

    def encode(self) -> bytes:
        """Encode as indented JSON, keys in the order of declaration."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read from a JSON file; raises BrokenContract, naming the file, where it is not such a document."""
        try:
            content = path.read_bytes()
        except OSError as cause:
            raise BrokenContract(f"cannot read {path}: {cause.strerror}; was the step before this one run?") from cause
        return cls.decode(content, origin=str(path))

    @classmethod
    def decode(cls, content: bytes, origin: str) -> Self:
        """Decode JSON bytes; raises BrokenContract, naming `origin`, where they are not such a document."""
        try:
            written = msgspec.json.decode(content, type=_Head).schema_version
            if written > SCHEMA_VERSION:
                raise BrokenContract(
                    f"{origin} has schema version {written}, newer than {SCHEMA_VERSION}; "
                    "use the kepler-train that wrote it, or a later one"
                )
            return msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
            raise BrokenContract(
                f"{origin} is not a {cls.__name__} document of this version: {cause}; "
                "was it written by another version, or damaged?"
            ) from cause

    def as_dict(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise NotWritable, naming the folder, for what the system refuses meanwhile."""
    try:
        yield
    except OSError as cause:
        raise NotWritable(
            f"cannot write to {folder}: {cause.strerror or cause}; is there room, and are there permissions?"
        ) from cause


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file through a temporary neighbour, fsync and rename; others may read it as the umask says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
