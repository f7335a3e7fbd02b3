"""A lost index, made anew of what estimators are given: it was derived from the index, and names each served version.

What the index held besides is gone with it: which champion was new, and which versions were taken back.
"""

from __future__ import annotations

import msgspec

from kepler_train.contract.errors import DamagedModel, StoreError
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Index, Served
from kepler_train.publish import dialects
from kepler_train.publish.serving import with_served
from kepler_train.store import Store
from kepler_train.store.objects import is_plain
from kepler_train.store.store import StoredProvenance

_GROUPS = {group.value: group for group in FeatureGroup}


def restore(store: Store) -> Index:
    """Make the index anew, of versions whose provenance is trusted and has the checksum that estimators are given.

    Whether their files are whole is left to `verify`, as for whatever is served. Raises StoreError where there is an
    index, or nothing to restore it from; DamagedModel where what is given for a name is of no such version: then no
    index is written.
    """
    return store.create_index(lambda: _index_of_given(store))


def _index_of_given(store: Store) -> Index:
    given = dialects.given(store)
    if not given:
        raise StoreError(
            f"nothing in {store.address} tells what was served; delete what is below estimator/, and serve each model "
            "anew: kepler-train models rollback GROUP/NAME --version …"
        )
    index = Index()
    for name, checksum in given.items():
        stored = _find(store, name, checksum)
        provenance = stored.provenance
        index.require_runtime(provenance.candidate.runtime_name, store.address)
        index = with_served(
            msgspec.structs.replace(index, runtime=provenance.candidate.runtime_name),
            provenance.group,
            provenance.model_name,
            Served(provenance.version, provenance.published, stored.sha256),
        )
    return index


def _find(store: Store, name: str, checksum: str) -> StoredProvenance:
    """Find the version whose provenance has a checksum, among those of a flat name."""
    group, _, model_name = name.partition("-")
    versions = store.versions(_GROUPS[group], model_name) if group in _GROUPS and is_plain(model_name) else ()
    for version in reversed(versions):
        try:
            stored = store.provenance_of(_GROUPS[group], model_name, version)
        except DamagedModel:
            continue  # it may be another one that was served; if it is this one, that is said below
        if stored.sha256 == checksum:
            return stored
    raise DamagedModel(
        f"what estimators are given as {name} by {store.address} is of no version there that is whole and trusted; "
        "delete its folder below estimator/ to do without it, and restore again"
    )
