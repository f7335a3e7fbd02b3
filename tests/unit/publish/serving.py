"""What must hold of a store at every moment, as seen by each of its readers."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from hashlib import sha256
from pathlib import Path

from kepler_train.contract.models import METADATA_FILE, PROVENANCE_FILE, Provenance, flat_name
from kepler_train.estimators.model_folder import SUMS_FILE
from kepler_train.store import Store, open_store

FOLDER = "estimator/d351cbf/"


def copy_of(store: Store) -> dict[str, dict[str, bytes]]:
    """A plain copy of the estimators' folder: model folder to file to content."""
    folders: dict[str, dict[str, bytes]] = defaultdict(dict)
    for key in store.objects.list(FOLDER):
        folder, _, file = key.removeprefix(FOLDER).partition("/")
        stored = store.objects.get(key)
        assert stored is not None
        folders[folder][file] = stored.content
    return dict(folders)


def estimator_serves(store: Store) -> dict[str, set[str]]:
    """What an estimator that reads a plain copy may serve: flat name to versions. Each must be whole and unmixed."""
    found: dict[str, set[str]] = defaultdict(set)
    for folder, files in copy_of(store).items():
        if METADATA_FILE not in files:
            continue  # the estimator overlooks it
        sums = dict(reversed(line.split("  ")) for line in files[SUMS_FILE].decode().splitlines())
        assert sums == {file: sha256(content).hexdigest() for file, content in files.items() if file != SUMS_FILE}
        provenance = Provenance.decode(files[PROVENANCE_FILE], folder)
        assert {**provenance.files, METADATA_FILE: ""} == {
            file: "" if file == METADATA_FILE else checksum
            for file, checksum in sums.items()
            if file != PROVENANCE_FILE
        }
        assert json.loads(files[METADATA_FILE])["model_name"] == folder
        found[flat_name(provenance.group, provenance.model_name)].add(provenance.version)
    return dict(found)


def index_serves(store: Store) -> dict[str, str]:
    """What the index names, flat name to version; each must be there and whole."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for group, model_name, served in store.read_index().entries():
            name = flat_name(group, model_name)
            store.fetch_version(group, model_name, served.version, Path(scratch) / name)
            found[name] = served.version
    return found


def assert_serves(address: str, expected: dict[str, str]) -> None:
    """The store serves exactly these versions, to all its readers, and nothing else lies about for them."""
    store = open_store(address)
    assert index_serves(store) == expected
    assert estimator_serves(store) == {name: {version} for name, version in expected.items()}
    assert set(copy_of(store)) == set(expected)
