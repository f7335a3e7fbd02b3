"""The champion of a name: what the store serves now, its files verified before any of them is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kepler_train.contract.errors import DamagedModel
from kepler_train.contract.models import Candidate
from kepler_train.contract.runtimes import other_versions
from kepler_train.store import open_store


@dataclass(frozen=True)
class Champion:
    """A served version, copied into `folder`, or what is wrong with it."""

    version: str = ""
    """Empty where none is served under the name."""
    folder: Path | None = None
    idle_millijoules: dict[str, float] = field(default_factory=dict)
    damage: str = ""


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
    try:
        provenance = opened.fetch_version(candidate.group, candidate.model_name, served.version, into)
    except DamagedModel as cause:
        return Champion(served.version, damage=str(cause))
    if differing := other_versions(provenance.candidate.runtime):
        return Champion(served.version, damage=f"it was made with {differing}, and an estimator might not load it")
    return Champion(served.version, into, provenance.candidate.idle_millijoules)
