"""The folder `estimator/archive/` of the store: what later estimators fetch, at addresses that stay the same.

    estimator/archive/<output type>/<group>.zip      the archive of the group's best model

An estimator is given one URL for each output type, and so for one feature group. Best is the champion of the group
with the smallest held-out error when it was published, of those that have an archive of that type: of pods, Σ pods +
idle against the node; of a whole node, its own. An archive is a file of the champion's version, byte for byte, so what
is fetched can be held against the version's checksums.

Each is one object, replaced by compare-and-swap: a reader gets the old archive or the new one. What is there is looked
at before the index is read, so that who was overtaken writes nothing, and looks again.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from kepler_train.contract.errors import DamagedModel
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import ARCHIVE_FILES, DYN_POWER, Index, Provenance
from kepler_train.publish.champions import champion_of
from kepler_train.store import Store
from kepler_train.store.objects import StoredObject, digest

ARCHIVES = "estimator/archive/"

_log = logging.getLogger("kepler_train")


def archive_key(output_type: str, group: FeatureGroup) -> str:
    """The store key of the archive of a group's best model."""
    return f"{ARCHIVES}{output_type}/{group.value}.zip"


def derive_once(store: Store) -> bool:
    """Do what is to be done by one look at archives and index; False if that was nothing.

    Where a champion is damaged, what stands in its place stays.
    """
    present = {key: _read_or_delete(store, key) for key in store.objects.list(ARCHIVES)}
    index = store.read_index()
    busy = False
    for group in FeatureGroup:
        champions, all_read = _champions(store, index, group)
        for output_type in ARCHIVE_FILES:
            key = archive_key(output_type, group)
            stored = present.pop(key, None)
            if stored is None or all_read:
                busy |= _replace(store, key, stored, _ranked(champions, output_type), output_type)
    for key, stored in present.items():
        _log.warning("%s in %s is no archive, and is deleted", key, store.address)
        store.objects.delete(key)
        busy = busy or stored is not None
    return busy


def check(store: Store, group: FeatureGroup, model_name: str) -> None:
    """Raise DamagedModel, naming it, where an archive is not this model's, though this is the group's best."""
    champions, _ = _champions(store, store.read_index(), group)
    for output_type, file in ARCHIVE_FILES.items():
        ranked = _ranked(champions, output_type)
        if not ranked or ranked[0].model_name != model_name:
            continue
        key = archive_key(output_type, group)
        stored = store.objects.get(key)
        if stored is None or digest(stored.content) != ranked[0].files[file]:
            fact = "is missing" if stored is None else f"is not of {model_name}, which is the best that is served"
            raise DamagedModel(f"{key} in {store.address} {fact}; any run derives it anew, if the version is whole")


def _read_or_delete(store: Store, key: str) -> StoredObject | None:
    """Read what stands in an archive's place; what cannot be read, nobody here has put there."""
    try:
        return store.objects.get(key)
    except DamagedModel as damage:
        _log.warning("%s is deleted: %s", key, damage)
        store.objects.delete(key)
        return None


def _champions(store: Store, index: Index, group: FeatureGroup) -> tuple[list[Provenance], bool]:
    """Where a group's champions come from, and whether that could be read of all."""
    found, all_read = [], True
    for model_name, served in sorted(index.models.get(group.value, {}).items()):
        try:
            found.append(champion_of(store, index, group, model_name, served).provenance)
        except DamagedModel as damage:
            _log.warning("%s/%s is not compared with others: %s", group.value, model_name, damage)
            all_read = False
    return found, all_read


def _ranked(champions: list[Provenance], output_type: str) -> list[Provenance]:
    """The champions that have an archive of this type, the best first; names decide between equals."""
    file = ARCHIVE_FILES[output_type]
    errors = [(_error(champion, output_type), champion) for champion in champions if file in champion.files]
    return [champion for _, champion in sorted(errors, key=lambda entry: (entry[0], entry[1].model_name))]


def _error(champion: Provenance, output_type: str) -> float:
    whole_node = champion.decision.whole_node
    score = champion.decision.candidate if output_type == DYN_POWER else whole_node.score if whole_node else None
    return score.mape_percent if score else float("inf")


def _replace(store: Store, key: str, stored: StoredObject | None, ranked: list[Provenance], output_type: str) -> bool:
    """Put the best champion's archive under its key; False if it is there, or cannot be."""
    file = ARCHIVE_FILES[output_type]
    if stored is not None and not ranked:
        store.objects.delete(key)
        return True
    if stored is not None and digest(stored.content) == ranked[0].files[file]:
        return False
    for champion in ranked if stored is None else ranked[:1]:
        try:
            content = _read(store, champion, file)
        except DamagedModel as damage:
            _log.warning("%s stays as it is: %s", key, damage)
            continue
        if store.objects.put_if(key, content, stored.etag if stored else None):
            _log.info("%s in %s is %s %s", key, store.address, champion.model_name, champion.version)
        return True
    return False


def _read(store: Store, champion: Provenance, file: str) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        version = Path(scratch) / "version"
        store.fetch_version(champion.group, champion.model_name, champion.version, version)
        return (version / file).read_bytes()
