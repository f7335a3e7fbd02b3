"""From the store to the folder that an estimator reads at its start."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from pathlib import Path

from kepler_train.contract.errors import StoreError, WrongUsage
from kepler_train.contract.models import Index, flat_name
from kepler_train.estimators.model_folder import D351CBF, estimator_files
from kepler_train.store import Store


def sync(store: Store, dialect: str, into: Path) -> Index:
    """Make `into` the folder of all served models, each file verified; returns the index it was made from.

    `into` becomes a link to a folder beside it, which one rename replaces: who opens it finds the old set or the new.
    If anything fails the link stays as it is, and so does it where nothing is served: the last good set goes on.

    Raises WrongUsage for an unknown dialect or an `into` that is something else, DamagedModel where a served model is
    not whole, StoreError where the store is away or serves nothing.
    """
    if dialect != D351CBF:
        raise WrongUsage(f"no generation of estimators is called {dialect!r}; there is {D351CBF}")
    _require_own(into)
    index = store.read_index()
    if not any(index.models.values()):
        raise StoreError(f"{store.address} serves no model yet; {into} is left as it is, publish one first")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as scratch:
            models = _make_set(store, index, Path(scratch))
            if not into.exists() or _contents(models) != _contents(into):
                _replace(into, models)
    except OSError as cause:
        raise StoreError(f"cannot write {into}: {cause.strerror}; it is as it was: make room, and run again") from cause
    return index


def _require_own(into: Path) -> None:
    is_empty_folder = into.is_dir() and not any(into.iterdir())
    is_own = into.is_symlink() and _is_set(into, str(into.readlink()))
    if (into.exists() or into.is_symlink()) and not is_own and not is_empty_folder:
        raise WrongUsage(f"{into} was not made by sync, and is left as it is; remove it, or name another folder")


def _is_set(into: Path, name: str) -> bool:
    return re.fullmatch(rf"\.{re.escape(into.name)}\.[0-9a-f]{{16}}", name) is not None


def _make_set(store: Store, index: Index, scratch: Path) -> Path:
    models = scratch / "models"
    for group, model_name, served in index.entries():
        version, name = scratch / "version", flat_name(group, model_name)
        store.fetch_version(group, model_name, served.version, version)
        (models / name).mkdir(parents=True)
        for file, content in estimator_files(version, name).items():
            (models / name / file).write_bytes(content)
        shutil.rmtree(version)
    return models


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.glob("*/*")}


def _replace(into: Path, models: Path) -> None:
    """Let the link name the new set, and remove the sets of before."""
    target = into.parent / f".{into.name}.{secrets.token_hex(8)}"
    models.replace(target)
    link = models.with_name("link")
    link.symlink_to(target.name)
    if not into.is_symlink() and into.is_dir():
        into.rmdir()
    link.replace(into)
    for folder in into.parent.iterdir():
        if _is_set(into, folder.name) and folder != target:
            shutil.rmtree(folder)
