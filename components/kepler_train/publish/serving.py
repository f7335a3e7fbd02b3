"""Which version is served: the one change of the index, for publishing, for going back, and for staying."""

from __future__ import annotations

import msgspec

from kepler_train.contract.errors import ChampionChanged, StoreError
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Index, Served, TakenBack
from kepler_train.store import Store


def serve_new(store: Store, group: FeatureGroup, model_name: str, version: str, in_place_of: str) -> Served:
    """Serve a version that a run has added, in place of the champion it was measured against (empty: of none).

    Serving what is served already changes nothing. Raises ChampionChanged where another came in between, StoreError
    where the version is being deleted, or where it was served before and taken back; WrongUsage where the store serves
    models of another runtime.
    """
    return _serve(store, group, model_name, version, in_place_of, back=None)


def serve_again(
    store: Store, group: FeatureGroup, model_name: str, version: str, in_place_of: str, *, run_id: str = ""
) -> Served:
    """Go back to a stored version: the champion `in_place_of` is taken back, and no run serves it again.

    `run_id` is that of the run which decided so, empty for a person.

    Raises StoreError where another champion came in between or the version is being deleted, WrongUsage where the store
    serves models of another runtime.
    """
    return _serve(store, group, model_name, version, in_place_of, back=TakenBack(in_place_of, run_id))


def keep_serving(store: Store, group: FeatureGroup, model_name: str, version: str) -> None:
    """Note that a champion was compared with the version before, and stays; nothing, where it is served no more."""

    def change(index: Index) -> Index:
        served = index.served(group, model_name)
        if served is None or served.version != version:
            return index
        return with_served(index, group, model_name, msgspec.structs.replace(served, new=False))

    store.update_index(change)


def require_champion(index: Index, group: FeatureGroup, model_name: str, *versions: str) -> None:
    """Raise ChampionChanged if another version than one of these (empty: none at all) is served under a name."""
    served = index.served(group, model_name)
    champion = served.version if served else ""
    if champion not in versions:
        raise ChampionChanged(
            f"the champion of {group.value}/{model_name} is now {champion or 'none'}, no longer "
            f"{versions[0] or 'none'}, which this was measured against; nothing was replaced, run again"
        )


def _serve(
    store: Store, group: FeatureGroup, model_name: str, version: str, in_place_of: str, *, back: TakenBack | None
) -> Served:
    """Serve a stored version by compare-and-swap: a new one, or again, as what it replaces is taken back."""
    stored = store.provenance_of(group, model_name, version)
    runtime = stored.provenance.candidate.runtime_name

    def change(index: Index) -> Index:
        current = index.served(group, model_name)
        if current is not None and current.version == version and current.provenance_sha256 == stored.sha256:
            return index
        index.require_runtime(runtime, store.address)
        require_champion(index, group, model_name, in_place_of)
        if f"{group.value}/{model_name}/{version}" in index.retired:
            raise StoreError(
                f"{version} of {group.value}/{model_name} is being deleted; serve another, or publish again"
            )
        # Still there: who deletes a version changes the index first, and then this change is made anew.
        store.provenance_of(group, model_name, version)
        before = {one.version: one for one in current.taken_back} if current else {}
        if back is None and version in before:
            raise StoreError(
                f"{version} of {group.value}/{model_name} was served before and taken back, so no run serves it again; "
                "if it is to be served after all: kepler-train models rollback --version"
            )
        taken_back = {**before, back.version: back} if back else before
        served = Served(
            version=version,
            published=stored.provenance.published,
            provenance_sha256=stored.sha256,
            new=back is None,
            taken_back=tuple(taken_back[name] for name in sorted(taken_back) if name not in {version, ""}),
        )
        return with_served(msgspec.structs.replace(index, runtime=runtime), group, model_name, served)

    return store.update_index(change).models[group.value][model_name]


def with_served(index: Index, group: FeatureGroup, model_name: str, served: Served) -> Index:
    """Let a copy of the index serve this under a name."""
    models = {**index.models, group.value: {**index.models.get(group.value, {}), model_name: served}}
    return msgspec.structs.replace(index, models=models)
