"""The folder `estimator/d351cbf/` of the store: what estimators of that generation pull, derived from the index.

    estimator/d351cbf/<group>-<model_name>/    the served version's files; metadata.json under this folder's name
                                  SHA256SUMS   checksums of them all, for `sha256sum -c` after a copy

A plain copy of the folder (`mc mirror`, rsync, a mounted volume) has to be right, and neither a bucket nor a
directory replaces several files at once. An estimator overlooks a folder without metadata.json and serves every
folder with one. So, when the index names another version of a model:

1. the new version is put beside the old one, as `<group>-<model_name>@<version>`, its metadata.json last;
2. the old folder is deleted, its metadata.json first;
3. the new version is put in its place, read back, and given its metadata.json last;
4. the folder beside is deleted, its metadata.json first.

At every moment, and wherever a publisher is killed, each folder with metadata.json is one whole version, and each
served name has one: the old, the new, or for a while both. Only files that are not there are ever written. Derivation
compares with the index, and each file with the served version's verified provenance (SHA256SUMS lies beside what it
lists: who alters one can alter both), and repeats until nothing is left to do, so whoever publishes next finishes what
was cut short. What no order of writes can prevent: a copy that takes place during step 2 or 3 lacks files (the copy
fails) or mixes versions (`sha256sum -c` fails), and a publisher that sleeps for longer than its lease may mix them in
the folder itself, until it wakes up or the next run. Who wants neither takes `sync`, which reads the versions
themselves.
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kepler_train.contract.errors import DamagedModel, IndexConflict
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import METADATA_FILE, PROVENANCE_FILE, Index, Served, flat_name, version_key
from kepler_train.estimators.model_folder import D351CBF, SUMS_FILE, estimator_checksums, estimator_files
from kepler_train.publish import archives
from kepler_train.publish.champions import champion_of
from kepler_train.store import Store
from kepler_train.store.objects import Objects, digest

_ROUNDS = 20
_LARGEST_SUMS_BYTES = 1 << 16
_log = logging.getLogger("kepler_train")


@dataclass
class _Findings:
    """What a derivation has found, so that in all its rounds it reads each version and each whole folder once."""

    damaged: set[str] = field(default_factory=set)
    """Names whose versions cannot be put in place."""
    checksums: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """Name and checksum of the provenance to what SHA256SUMS has to list."""
    whole: set[tuple[str, str]] = field(default_factory=set)
    """Of these, folders whose files were all read, and are those."""


def derive(store: Store) -> bool:
    """Make what estimators pull, of every generation, what the index says.

    Returns whether that took any change. A served model that is damaged keeps the folder it has.

    Raises IndexConflict where others keep changing the same, StoreError where the store cannot be read or written.
    """
    found = _Findings()
    if not _is_behind(store, found):
        return False
    with store.objects.exclusive():
        for number in range(_ROUNDS):
            busy = _derive_once(store, found)
            if not archives.derive_once(store) and not busy:
                return number > 0
    raise IndexConflict(f"others kept changing {_folder('')} in {store.address}; run again, nothing is lost")


def given(store: Store) -> dict[str, str]:
    """What estimators are given, by the folders' own word: flat name to the checksum of its version's provenance.

    A publisher that was cut short may have left a name the folder beside only.
    """
    found = {}
    for folder, files in sorted(_list_folders(store).items(), key=lambda entry: ("@" not in entry[0], entry[0])):
        if METADATA_FILE in files:
            found[folder.partition("@")[0]] = _read_sums(store, folder).get(PROVENANCE_FILE, "")
    return found


class _WouldWrite(Exception):
    """There is something to be done."""


class _Looking:
    """A store's objects for who only wants to know whether there is something to be done."""

    def __init__(self, objects: Objects) -> None:
        self.address, self.get, self.list, self.exclusive = (
            objects.address,
            objects.get,
            objects.list,
            objects.exclusive,
        )

    def put_if(self, key: str, _content: bytes, _expected: str | None) -> bool:
        raise _WouldWrite(key)

    def delete(self, key: str) -> None:
        raise _WouldWrite(key)


def _is_behind(store: Store, found: _Findings) -> bool:
    """Tell whether there is something to be done: mostly there is not, and then the right to read is enough."""
    looked_at = Store(_Looking(store.objects), store.keys)
    try:
        return _derive_once(looked_at, found) or archives.derive_once(looked_at)
    except _WouldWrite:
        return True


def check(store: Store, group: FeatureGroup, model_name: str, served: Served) -> None:
    """Read a model's folder back; raises DamagedModel where it is not, whole and unaltered, what the index serves.

    Where another version is served by now, it is for who serves that to see to the folder.
    """
    name = flat_name(group, model_name)
    expected = _checksums(store, store.read_index(), group, model_name, served)
    altered = _altered(store, name, expected)
    if altered or _read_sums(store, name) != expected:
        now = store.read_index().served(group, model_name)
        if now is None or now.version != served.version:
            return
        raise DamagedModel(
            f"{_folder(name)}{altered or SUMS_FILE} in {store.address} is not that of version {served.version}, which "
            "is served; any run derives it anew, if the version is whole"
        )


def _derive_once(store: Store, found: _Findings) -> bool:
    """Do what is to be done by one look at folders and index; False if that was nothing."""
    # Folders before the index: a folder that is no longer served by the time the index is read may go.
    folders = _list_folders(store)
    current, busy = set(), False
    names = set()
    index = store.read_index()
    for group, model_name, served in index.entries():
        name = flat_name(group, model_name)
        names.add(name)
        version = name, served.provenance_sha256
        try:
            if version not in found.checksums:
                found.checksums[version] = _checksums(store, index, group, model_name, served)
            if _is_current(store, version, folders.get(name, set()), found):
                current.add(name)
            elif name not in found.damaged:
                busy = True
                _replace(store, name, folders, (group, model_name, served.version))
        except DamagedModel as damage:
            if name not in found.damaged:
                _log.warning("%s keeps the folder it has: %s", name, damage)
            found.damaged.add(name)
    for folder, files in folders.items():
        name = folder.partition("@")[0]
        if folder not in names and (name in current or name not in names):
            busy = True
            _remove(store, folder, files)
    return busy


def _replace(store: Store, name: str, folders: Mapping[str, set[str]], served: tuple[FeatureGroup, str, str]) -> None:
    """Steps 1 to 3; step 4 is the next round's, which finds a folder that is not served."""
    with tempfile.TemporaryDirectory() as scratch:
        version = Path(scratch) / "version"
        store.fetch_version(*served, version)
        present = folders.get(name, set())
        beside = f"{name}@{served[2]}"
        if METADATA_FILE in present and not _create(store, beside, estimator_files(version, beside)):
            return
        _remove(store, name, present)
        _create(store, name, estimator_files(version, name))


def _create(store: Store, folder: str, files: Mapping[str, bytes]) -> bool:
    """Write a folder's files and read each back, metadata.json last.

    False where another content was in the way, damaged or another publisher's: then the folder is gone again, and the
    next round looks anew.
    """
    for file, content in files.items():
        if not _put(store, _folder(folder) + file, content):
            _remove(store, folder, set(files))
            time.sleep(random.uniform(0, 1))
            return False
    return True


def _put(store: Store, key: str, content: bytes) -> bool:
    """Write a file where there is none, and tell whether this content is what can be read there then."""
    try:
        store.objects.put_if(key, content, None)
        stored = store.objects.get(key)
    except DamagedModel:
        return False
    return stored is not None and stored.content == content


def _remove(store: Store, folder: str, files: set[str]) -> None:
    for file in sorted(files, key=lambda file: file != METADATA_FILE):
        store.objects.delete(_folder(folder) + file)


def _is_current(store: Store, version: tuple[str, str], files: set[str], found: _Findings) -> bool:
    """Tell whether a name's folder, which has these files, is that of a version."""
    name, expected = version[0], found.checksums[version]
    if files != {*expected, SUMS_FILE} or _read_sums(store, name) != expected:
        return False
    if version not in found.whole and not _altered(store, name, expected):
        found.whole.add(version)
    return version in found.whole


def _checksums(store: Store, index: Index, group: FeatureGroup, model_name: str, served: Served) -> dict[str, str]:
    """What SHA256SUMS has to list in the folder of a served version; raises DamagedModel where that cannot be told."""
    provenance, content = champion_of(store, index, group, model_name, served)
    key = version_key(group, model_name, served.version, METADATA_FILE)
    metadata = store.objects.get(key)
    if metadata is None or digest(metadata.content) != provenance.files.get(METADATA_FILE):
        raise DamagedModel(
            f"{key} in {store.address} is missing or altered; publish a new model of this name, or go back to a "
            "version that is whole (kepler-train models rollback)"
        )
    version = {**provenance.files, PROVENANCE_FILE: digest(content)}
    return estimator_checksums(version, metadata.content, flat_name(group, model_name))


def _altered(store: Store, name: str, expected: Mapping[str, str]) -> str:
    """Find a file of a model's folder that is missing, altered or too large to be read; empty where there is none."""
    for file, checksum in expected.items():
        try:
            stored = store.objects.get(_folder(name) + file)
        except DamagedModel:
            return file
        if stored is None or digest(stored.content) != checksum:
            return file
    return ""


def _read_sums(store: Store, name: str) -> dict[str, str]:
    """File to checksum, as the folder's own list has it; empty where there is none, or none of ours."""
    try:
        stored = store.objects.get(_folder(name) + SUMS_FILE, _LARGEST_SUMS_BYTES)
    except DamagedModel:
        return {}
    lines = stored.content.decode(errors="replace").splitlines() if stored else []
    return {file: checksum for checksum, _, file in (line.partition("  ") for line in lines)}


def _list_folders(store: Store) -> dict[str, set[str]]:
    folders: dict[str, set[str]] = defaultdict(set)
    for key in store.objects.list(_folder("")):
        folder, inside, file = key.removeprefix(_folder("")).partition("/")
        if inside:
            folders[folder].add(file)
    return dict(folders)


def _folder(name: str) -> str:
    return f"estimator/{D351CBF}/{name}/" if name else f"estimator/{D351CBF}/"
