"""Which versions a store keeps: those that are served or may be served next, the newest of each model, and the young.

Who serves a version and who deletes one meet in the index, where both change it by compare-and-swap: a version is
retired there before its files go, unless it is served by then, and a retired version is served by nobody. So the index
never names what is being deleted, whatever else runs at the same time; and what a killed prune had retired, the next
one deletes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone

import msgspec

from kepler_train.contract.errors import DamagedModel
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import PROVENANCE_FILE, Index
from kepler_train.store import Store
from kepler_train.store.objects import is_plain

_RUN_TIME = re.compile(r"\d{8}T\d{6}Z")
_NEVER = datetime.max.replace(tzinfo=timezone.utc)
_LONGEST_RUN = timedelta(days=7)
_KEY_PARTS = 5


class StoredVersion(msgspec.Struct, frozen=True):
    """One version that is kept or not, and why."""

    group: FeatureGroup
    model_name: str
    version: str
    published: datetime
    """From its provenance; where that was never written or is damaged, the time of the run that its name tells."""
    parent: str
    is_whole: bool
    """Whether its provenance is there and trusted."""
    kept_because: str = ""
    """Empty where it is to be deleted."""


def plan(store: Store, keep: int, older_than: timedelta, now: datetime) -> tuple[StoredVersion, ...]:
    """Decide about every version, by group, name and age: kept are the newest `keep` of a name, and those younger.

    Always kept are the served version, its parent, and what was measured against it: a publisher may be about to serve
    that. Where the served version cannot be read, and with it which one is its parent, all of that name are kept.
    """
    index = store.read_index()
    found: list[StoredVersion] = []
    for (group, model_name), versions in sorted(_versions(store).items()):
        newest_first = sorted(versions, key=lambda one: (one.published, one.version), reverse=True)
        served = index.served(group, model_name)
        champion = served.version if served else ""
        parent = next((one.parent for one in versions if one.version == champion and one.is_whole), None)
        for place, one in enumerate(newest_first):
            reasons = {
                "served": one.version == champion,
                "the way back": one.version == parent,
                "perhaps the way back": bool(champion) and parent is None,
                "measured against what is served": bool(champion) and one.parent == champion,
                f"among the newest {keep}": place < keep,
                "young": now - one.published < older_than,
                "perhaps being published": not one.is_whole and now - one.published < _LONGEST_RUN,
            }
            because = next((reason for reason, holds in reasons.items() if holds), "")
            found.append(msgspec.structs.replace(one, kept_because=because))
    return tuple(found)


def prune(store: Store, planned: Iterable[StoredVersion]) -> tuple[StoredVersion, ...]:
    """Delete the versions that are planned to go, unless one is served by now; returns those that are gone."""
    going = {f"{one.group.value}/{one.model_name}/{one.version}": one for one in planned if not one.kept_because}
    if not going and not store.read_index().retired:
        return ()
    index = store.update_index(lambda index: _retire(index, going))
    gone = tuple(one for name, one in going.items() if name in index.retired)
    for full_name in index.retired:
        _delete(store, f"models/{full_name}/")
    deleted = frozenset(index.retired)
    store.update_index(
        lambda index: msgspec.structs.replace(
            index, retired=tuple(name for name in index.retired if name not in deleted)
        )
    )
    return gone


def _retire(index: Index, going: Mapping[str, StoredVersion]) -> Index:
    served = {f"{group}/{name}/{one.version}" for group, models in index.models.items() for name, one in models.items()}
    return msgspec.structs.replace(index, retired=tuple(sorted({*index.retired, *going} - served)))


def _delete(store: Store, folder: str) -> None:
    """Delete a version's files, its provenance first: without it, no version is there."""
    for key in sorted(store.objects.list(folder), key=lambda key: key != folder + PROVENANCE_FILE):
        store.objects.delete(key)


def _versions(store: Store) -> dict[tuple[FeatureGroup, str], list[StoredVersion]]:
    """Every version with a file, whole or not; what no publisher names so is overlooked."""
    groups = {group.value: group for group in FeatureGroup}
    names = {
        (groups[parts[1]], parts[2], parts[3])
        for parts in (key.split("/") for key in store.objects.list("models/"))
        if len(parts) == _KEY_PARTS and parts[1] in groups and is_plain(parts[2]) and is_plain(parts[3])
    }
    found = defaultdict(list)
    for group, model_name, version in sorted(names):
        found[group, model_name].append(_describe(store, group, model_name, version))
    return found


def _describe(store: Store, group: FeatureGroup, model_name: str, version: str) -> StoredVersion:
    try:
        provenance = store.provenance_of(group, model_name, version).provenance
    except DamagedModel:
        return StoredVersion(group, model_name, version, _time_in(version), parent="", is_whole=False)
    published = provenance.published
    if published.tzinfo is None:  # as somebody else's clock may have written it; ours writes UTC
        published = published.replace(tzinfo=timezone.utc)
    return StoredVersion(group, model_name, version, published, provenance.parent, is_whole=True)


def _time_in(version: str) -> datetime:
    found = _RUN_TIME.search(version)
    try:
        return datetime.strptime(found[0], "%Y%m%dT%H%M%S%z") if found else _NEVER
    except ValueError:
        return _NEVER
