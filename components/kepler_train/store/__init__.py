"""Where models live: a directory or an S3 bucket, the index of what is served, and versions that never change."""

from __future__ import annotations

from pathlib import Path

from kepler_train.contract.errors import WrongUsage
from kepler_train.store.directory import Directory
from kepler_train.store.signatures import keys_from_environment
from kepler_train.store.store import Store

__all__ = ["Store", "open_store"]


def open_store(address: str) -> Store:
    """Open the store at a directory's path or at `s3://bucket/prefix`; nothing is read or written yet.

    The environment gives a bucket its AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and
    AWS_CA_BUNDLE. It also names the keys that versions are signed and verified with, or the choice to do without: see
    `signatures`. Raises WrongUsage where it does neither.
    """
    keys = keys_from_environment()
    if address.startswith("s3://"):
        from kepler_train.store.s3 import connect  # noqa: PLC0415 (the client costs 0.3 s; a directory needs none)

        return Store(connect(address), keys)
    if not address or "://" in address:
        raise WrongUsage("a store is a directory or s3://bucket/prefix")
    return Store(Directory(Path(address).absolute()), keys)
