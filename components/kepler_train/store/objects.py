"""What both kinds of store are built on: named objects that are created, read, swapped and deleted.

There is no unconditional write: an object comes into being where there was none, or replaces the very state that was
read. So two who write at once cannot overwrite each other unseen, and a request that is tried again does no harm.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import NamedTuple, Protocol

from kepler_train.contract.errors import DamagedModel, WrongUsage

LARGEST_FILE_BYTES = 1 << 26
"""What no model's file reaches: a reader takes no more into memory, twice at most, and a sync has little of it."""
LARGEST_DOCUMENT_BYTES = 1 << 24
"""The same for index and provenance, which hold a line for each model or block of time."""

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class StoredObject(NamedTuple):
    """An object's content, and the tag that names this state of it."""

    content: bytes
    etag: str


class Objects(Protocol):
    """A flat space of objects under keys such as `models/BPFOnly/linear/1/model.sav`. All methods raise StoreError."""

    @property
    def address(self) -> str:
        """Where the objects are, for messages; without secrets."""

    def get(self, key: str, largest_bytes: int = LARGEST_FILE_BYTES) -> StoredObject | None:
        """Read an object; None where there is none. Raises DamagedModel, unread, where it is larger than that."""

    def put_if(self, key: str, content: bytes, expected: str | None) -> bool:
        """Write an object if its etag is `expected` (None: if there is none); False if it is another."""

    def list(self, folder: str) -> tuple[str, ...]:
        """List all keys, sorted, below a folder such as `models/`."""

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep others who ask for the same out, as long as this process lives and hurries.

        It spares work; nothing may depend on it for being right, since a holder may be overtaken while it sleeps.
        """


def is_plain(name: str) -> bool:
    """Tell whether a name can be one level of a key and one file name everywhere: no separators, no leading dot."""
    return _PLAIN.fullmatch(name) is not None


def require_plain(what: str, name: str) -> str:
    """Return the name if it is plain; raises WrongUsage otherwise."""
    if not is_plain(name):
        raise WrongUsage(
            f"{what} {name!r} cannot be stored; use letters, digits, '.', '_' and '-', without a dot in front"
        )
    return name


def require_size(size_bytes: int, largest_bytes: int, key: str, address: str) -> None:
    """Raise DamagedModel for an object that is larger than what anybody publishes."""
    if size_bytes > largest_bytes:
        raise DamagedModel(
            f"{key} in {address} is larger than {largest_bytes} bytes, as nothing published is; find out who may "
            "write to the store, and publish a new model of this name"
        )


def digest(content: bytes) -> str:
    """The checksum that provenance and index hold: sha256, in hexadecimal."""
    return sha256(content).hexdigest()
