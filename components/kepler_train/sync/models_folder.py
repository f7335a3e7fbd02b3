"""The folder that an estimator reads: whole sets of models, one of them in use, which one rename replaces.

    DIR/current             a link to the models of the set in use: what the estimator is pointed at
    DIR/.sets/<token>/      a set: `set.json`, which lists all its files with their checksums, and
                 models/      the folder as the estimator wants it
    DIR/.sets/.new.<token>  a set in the making

Everything is below DIR, which may be a mount of its own and the only place that can be written: a mount cannot be
renamed, a link in it can. The set before stays until the next but one, for an estimator that has just found the link.
Whoever is killed leaves the old set in use or the new one, and what else lies about the next one clears away.

Before there is a set, the link leads nowhere: Kubernetes does not start a container that mounts what it names, and
tries again until there is one. Where there is no link, Kubernetes makes a folder in its place, and an estimator that
started on that would stay without models.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import msgspec

from kepler_train.contract.documents import Document
from kepler_train.contract.errors import BrokenContract, DamagedModel, NothingServed, NotWritable, WrongUsage
from kepler_train.contract.models import Index, flat_name, version_key
from kepler_train.contract.runtimes import CURRENT as CURRENT_RUNTIME
from kepler_train.estimators.model_folder import D351CBF, estimator_files
from kepler_train.store import Store

CURRENT = "current"

_SETS = ".sets"
_NEW = ".new."
_MODELS = "models"
_SET_FILE = "set.json"
_NONE = "none"
_LOCK = ".lock"
_TOKEN = re.compile(r"[0-9a-f]{16}")


class ModelSet(Document, frozen=True, kw_only=True):
    """What a set holds: `set.json`."""

    version: str
    """See `set_version`."""
    dialect: str
    runtime: str
    made: datetime
    models: dict[str, str]
    """The estimator's name of a model to its version."""
    files: dict[str, str]
    """Path below the models' folder to sha256."""


def set_version(index: Index, dialect: str) -> str:
    """Name all that is served to estimators of a generation by one short checksum: the same for the same models."""
    served = [dialect, *((group, name, served.provenance_sha256) for group, name, served in index.entries())]
    return sha256(msgspec.json.encode(served)).hexdigest()[:16]


def require_dialect(dialect: str) -> None:
    """Raise WrongUsage for a generation of estimators that is not known."""
    if dialect != D351CBF:
        raise WrongUsage(f"no generation of estimators is called {dialect!r}; there is {D351CBF}")


def read_served(store: Store, runtime: str) -> Index:
    """Read what a store serves to estimators of a runtime.

    Raises NothingServed where that is nothing, WrongUsage where its models are of another runtime.
    """
    index = store.read_index()
    index.require_runtime(runtime, store.address)
    if not any(index.models.values()):
        raise NothingServed(f"{store.address} serves no model; what estimators have stays as it is: publish one first")
    return index


def sync(store: Store, dialect: str, into: Path, runtime: str = CURRENT_RUNTIME) -> ModelSet:
    """Let `into/current` be all served models, each file verified; returns the set that is then in use.

    If anything fails, the set that is in use stays so, and so it does where the store serves nothing.

    Raises WrongUsage for an unknown dialect, models of another runtime or an `into` that is something else,
    DamagedModel where a served model is not whole, or not of the runtime that the index says, NotWritable where the
    disk is full, NothingServed where nothing is served, StoreError where the store is away.
    """
    require_dialect(dialect)
    prepare(into)
    index = read_served(store, runtime)
    current = find_current(into)
    if current is not None and (current.version, current.runtime) == (set_version(index, dialect), runtime):
        return current
    with _explained(into), _locked(into), _cleared(into / _SETS) as new:
        made = _make(store, index, dialect, new)
        _take_up(into, new)
    return made


def prepare(into: Path) -> None:
    """Let `into/current` be a link, though it may lead nowhere yet.

    Raises WrongUsage where something else stands there, NotWritable where no link can be made.
    """
    link = into / CURRENT
    with _explained(into):
        _require_own(into)
        if link.is_symlink():
            return
        into.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            link.rmdir()  # empty: made by Kubernetes for a mount of this path
        with suppress(FileExistsError):  # by another sync
            link.symlink_to(Path(_SETS, _NONE, _MODELS))


def find_current(into: Path) -> ModelSet | None:
    """Find the set in use, if it is whole and unaltered; None where it is not, or where there is none."""
    folder = into / _SETS / _token_in_use(into)
    try:
        current = ModelSet.read(folder / _SET_FILE)
        return current if _holds_only(folder / _MODELS, current.files) else None
    except (BrokenContract, OSError):
        return None


def _token_in_use(into: Path) -> str:
    """Name the set that the link is for; empty where it is no link of ours."""
    try:
        target = (into / CURRENT).readlink()
    except OSError:
        return ""
    token = target.parent.name
    return token if target == Path(_SETS, token, _MODELS) else ""


def _holds_only(models: Path, files: dict[str, str]) -> bool:
    """Tell whether a folder holds these files, by checksum, and nothing else that an estimator would list."""
    folders = {str(Path(name).parent) for name in files}
    found = {path.relative_to(models).as_posix(): path for path in models.rglob("*")}
    return found.keys() == {*files, *folders} and all(
        not path.is_symlink()
        and (path.is_dir() if name in folders else path.is_file() and _checksum(path) == files[name])
        for name, path in found.items()
    )


def _require_own(into: Path) -> None:
    """Raise WrongUsage where something else stands in the place of what is made here, or is led to by a link."""
    link, sets = into / CURRENT, into / _SETS
    is_empty = link.is_dir() and not any(link.iterdir())
    for path, is_own in (
        (into, into.is_dir() or not into.exists()),
        (link, link.is_symlink() or not link.exists() or is_empty),
        (sets, not sets.is_symlink() and (sets.is_dir() or not sets.exists())),
    ):
        if not is_own:
            raise WrongUsage(f"{path} was not made by sync, and is left as it is; remove it, or name another folder")


def _make(store: Store, index: Index, dialect: str, new: Path) -> ModelSet:
    """Write a set's files, flushed to the disk before anything can name them."""
    models, files = {}, {}
    for group, model_name, served in index.entries():
        version, name = new / "version", flat_name(group, model_name)
        made_in = store.fetch_version(group, model_name, served.version, version).candidate.runtime_name
        if made_in != index.runtime:
            raise DamagedModel(
                f"{version_key(group, model_name, served.version)} in {store.address} was made in runtime {made_in}, "
                f"not in {index.runtime}, as the index says; find out who else may write there, and restore the index"
            )
        for file, content in estimator_files(version, name).items():
            _write(new / _MODELS / name / file, content)
            files[f"{name}/{file}"] = sha256(content).hexdigest()
        models[name] = served.version
        shutil.rmtree(version)
    made = ModelSet(
        version=set_version(index, dialect),
        dialect=dialect,
        runtime=index.runtime,
        made=datetime.now(timezone.utc),
        models=models,
        files=files,
    )
    _write(new / _SET_FILE, made.encode())
    return made


def _take_up(into: Path, new: Path) -> None:
    """Let the link name a new set, and remove all sets but that and the one before; what is no set is left alone."""
    before = _token_in_use(into)
    token = new.name.removeprefix(_NEW)
    new.rename(new.with_name(token))
    link = into / _SETS / f"{_NEW}link"
    link.symlink_to(Path(_SETS, token, _MODELS))
    link.rename(into / CURRENT)
    _flush(into)
    for folder in (into / _SETS).iterdir():
        is_set = _TOKEN.fullmatch(folder.name) is not None and folder.is_dir() and not folder.is_symlink()
        if is_set and folder.name not in {token, before}:
            shutil.rmtree(folder)


def _checksum(file: Path) -> str:
    digest = sha256()
    with file.open("rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _cleared(sets: Path) -> Iterator[Path]:
    """Give the new folder of a set in the making, once what others left unfinished is gone; it goes if it stays so."""
    sets.mkdir(exist_ok=True)
    for left in sets.glob(f"{_NEW}*"):
        _remove(left)
    new = sets / f"{_NEW}{secrets.token_hex(8)}"
    new.mkdir()
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextmanager
def _explained(into: Path) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise NotWritable(
            f"cannot write to {into}: {cause.strerror}; what it holds stays in use: make room there, or allow writing"
        ) from cause


@contextmanager
def _locked(into: Path) -> Iterator[None]:
    with (into / _LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            raise NotWritable(f"another sync is at work in {into}; let one do it") from cause
        yield


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _flush(path.parent)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
