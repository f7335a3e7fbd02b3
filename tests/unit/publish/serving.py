"""What must hold of a store at every moment, as seen by each of its readers."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from hashlib import sha256
from pathlib import Path

from kepler_train.contract.models import ARCHIVE_FILES, METADATA_FILE, PROVENANCE_FILE, Provenance, flat_name
from kepler_train.estimators.model_folder import SUMS_FILE
from kepler_train.store import Store, open_store

FOLDER = "estimator/d351cbf/"
ARCHIVES = "estimator/archive/"


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
        published = {name: value for name, value in provenance.files.items() if name not in ARCHIVE_FILES.values()}
        assert {**published, METADATA_FILE: ""} == {
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


def archives_serve(store: Store) -> dict[str, str]:
    """What later estimators fetch: `<output type>/<group>` to the flat name of a served model, whole and unaltered."""
    found = {}
    keys = store.objects.list(ARCHIVES)
    contents = {key: stored.content for key in keys if (stored := store.objects.get(key))}
    with tempfile.TemporaryDirectory() as scratch:
        for group, model_name, served in store.read_index().entries():
            name = flat_name(group, model_name)
            store.fetch_version(group, model_name, served.version, Path(scratch) / name)
            for output_type, file in ARCHIVE_FILES.items():
                archive = Path(scratch) / name / file
                key = f"{ARCHIVES}{output_type}/{group.value}.zip"
                if archive.exists() and contents.get(key) == archive.read_bytes():
                    found[f"{output_type}/{group.value}"] = name
    assert len(found) == len(contents), "an archive is of no served model"
    return found


def archives_in(store: Store) -> dict[str, str]:
    """What later estimators fetch: `<output type>/<group>` to the `name@version` whose file it is, served or not."""
    versions = {}
    for key in store.objects.list("models/"):
        _, group, name, version, file = key.split("/")
        if file in ARCHIVE_FILES.values():
            versions[group, store.objects.get(key).content] = f"{name}@{version}"
    found = {}
    for key in store.objects.list(ARCHIVES):
        _, _, output_type, file = key.split("/")
        group = file.removesuffix(".zip")
        found[f"{output_type}/{group}"] = versions[group, store.objects.get(key).content]
    return found


def best_models(store: Store) -> dict[str, str]:
    """What later estimators should fetch: `<output type>/<group>` to the flat name of the group's best model."""
    errors = defaultdict(dict)
    for group, model_name, served in store.read_index().entries():
        provenance = store.provenance_of(group, model_name, served.version).provenance
        scores = {"DynPower": provenance.decision.candidate, "AbsPower": provenance.decision.whole_node}
        for output_type, file in ARCHIVE_FILES.items():
            if file in provenance.files:
                score = scores[output_type] if output_type == "DynPower" else scores[output_type].score
                errors[f"{output_type}/{group.value}"][flat_name(group, model_name)] = score.mape_percent
    return {address: min(sorted(models), key=models.get) for address, models in errors.items()}


def assert_serves(address: str, expected: dict[str, str]) -> None:
    """The store serves exactly these versions, to all its readers, and nothing else lies about for them."""
    store = open_store(address)
    assert index_serves(store) == expected
    assert estimator_serves(store) == {name: {version} for name, version in expected.items()}
    assert set(copy_of(store)) == set(expected)
    assert archives_serve(store) == best_models(store)
