"""The champion of a name: what the store serves now, its files verified before any of them is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kepler_train.contract.errors import DamagedModel
from kepler_train.contract.models import Candidate
from kepler_train.contract.runtimes import other_versions
from kepler_train.store import Store, open_store


@dataclass(frozen=True)
class Champion:
    """A served version, copied into `folder`, or what is wrong with it."""

    version: str = ""
    """Empty where none is served under the name."""
    folder: Path | None = None
    idle_millijoules: dict[str, float] = field(default_factory=dict)
    damage: str = ""
    before: str = ""
    """The version that it replaced, where it is new since the last run."""


def fetch_champion(store: str, candidate: Candidate, into: Path) -> Champion:
    """Copy the champion of a candidate's name out of the store, if there is one.

    One that was made with other versions than are installed here is not opened: it may load and answer wrongly.

    Raises StoreError where the store cannot be read: it may hold a champion, which must not be replaced unseen.
    WrongUsage where its champions are of another runtime.
    """
    opened = open_store(store)
    index = opened.read_index()
    index.require_runtime(candidate.runtime_name, opened.address)
    served = index.served(candidate.group, candidate.model_name)
    if served is None:
        return Champion()
    return _fetch(opened, candidate, served.version, into, new=served.new)


def fetch_before(store: str, candidate: Candidate, version: str, into: Path) -> Champion:
    """Copy the version that a champion replaced out of the store, as `fetch_champion` does."""
    opened = open_store(store)
    if version not in opened.versions(candidate.group, candidate.model_name):
        return Champion(version, damage=f"{opened.address} has it no longer")
    return _fetch(opened, candidate, version, into, new=False)


def _fetch(store: Store, candidate: Candidate, version: str, into: Path, *, new: bool) -> Champion:
    try:
        provenance = store.fetch_version(candidate.group, candidate.model_name, version, into)
    except DamagedModel as cause:
        return Champion(version, damage=str(cause))
    if differing := other_versions(provenance.candidate.runtime):
        return Champion(version, damage=f"it was made with {differing}, and an estimator might not load it")
    before = provenance.parent if new else ""
    return Champion(version, into, provenance.candidate.idle_millijoules, before=before)
