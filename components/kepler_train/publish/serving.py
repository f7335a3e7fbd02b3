"""Which version is served: the one change of the index, for publishing and for going back."""

from __future__ import annotations

import msgspec

from kepler_train.contract.errors import StoreError
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Index, Served
from kepler_train.store import Store


def serve(store: Store, group: FeatureGroup, model_name: str, version: str, in_place_of: str) -> Served:
    """Serve a stored version in place of the champion `in_place_of` (empty: of none), by compare-and-swap.

    Serving what is served already changes nothing. Raises StoreError where another champion came in between, or the
    version is being deleted, WrongUsage where the store serves models of another runtime.
    """
    stored = store.provenance_of(group, model_name, version)
    runtime = stored.provenance.candidate.runtime_name
    served = Served(version=version, published=stored.provenance.published, provenance_sha256=stored.sha256)

    def change(index: Index) -> Index:
        if index.served(group, model_name) == served:
            return index
        index.require_runtime(runtime, store.address)
        require_champion(index, group, model_name, in_place_of)
        if f"{group.value}/{model_name}/{version}" in index.retired:
            raise StoreError(
                f"{version} of {group.value}/{model_name} is being deleted; serve another, or publish again"
            )
        # Still there: who deletes a version changes the index first, and then this change is made anew.
        store.provenance_of(group, model_name, version)
        models = {**index.models, group.value: {**index.models.get(group.value, {}), model_name: served}}
        return msgspec.structs.replace(index, runtime=runtime, models=models)

    store.update_index(change)
    return served


def require_champion(index: Index, group: FeatureGroup, model_name: str, *versions: str) -> None:
    """Refuse to go on if another version than one of these (empty: none at all) is served under a name."""
    served = index.served(group, model_name)
    champion = served.version if served else ""
    if champion not in versions:
        raise StoreError(
            f"the champion of {group.value}/{model_name} is now {champion or 'none'}, no longer "
            f"{versions[0] or 'none'}, which this was measured against; nothing was replaced, run again"
        )
