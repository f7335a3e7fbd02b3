"""What a person asks of a store: what it serves, where that comes from, whether it is whole; and the way back."""

from __future__ import annotations

import logging
import tempfile
from datetime import datetime
from pathlib import Path

import msgspec

from kepler_train.contract.errors import DamagedModel, NothingServed, StoreError, WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Provenance, Score, Served
from kepler_train.contract.runtimes import differing_versions
from kepler_train.publish import archives, dialects
from kepler_train.publish.serving import serve_again
from kepler_train.store import Store

_log = logging.getLogger("kepler_train")


class ServedModel(msgspec.Struct, frozen=True):
    """One line of the list of served models."""

    group: FeatureGroup
    model_name: str
    version: str
    published: datetime
    score: Score | None
    """Measured when it was published; None where the provenance is damaged."""
    signed_by: str = ""
    """The id of the key that signed it; empty where it was published without one."""
    damage: str = ""
    """What is wrong with it, where something is."""


def list_served(store: Store) -> tuple[ServedModel, ...]:
    """List the served models, by group and name; a damaged provenance is named, not raised."""
    found = []
    for group, model_name, served in store.read_index().entries():
        model = ServedModel(group, model_name, served.version, served.published, score=None)
        try:
            provenance = store.provenance_of(group, model_name, served.version).provenance
        except DamagedModel as error:
            found.append(msgspec.structs.replace(model, damage=str(error)))
        else:
            score, signed_by = provenance.decision.candidate, provenance.signed_by
            found.append(msgspec.structs.replace(model, score=score, signed_by=signed_by))
    return tuple(found)


def show(store: Store, group: FeatureGroup, model_name: str, version: str = "") -> Provenance:
    """Read where a version comes from, the served one if none is named. Raises StoreError if there is none."""
    return store.provenance_of(group, model_name, version or _champion(store, group, model_name).version).provenance


def verify(store: Store) -> tuple[ServedModel, ...]:
    """Check all files of every served model, and what estimators pull, against their checksums.

    What estimators pull is first derived anew where it lags behind the index, as it does when a publisher was cut
    short. Returns the list of served models, `damage` telling what is missing or altered. Raises NothingServed where
    there is none.
    """
    try:
        if dialects.derive(store):
            _log.warning("what estimators pull from %s was not what it serves, and was derived anew", store.address)
    except StoreError as cause:  # such as without the right to write: what lags behind is then among the damage
        _log.warning("what estimators pull was not derived anew: %s", cause)
    served = list_served(store)
    if not served:
        raise NothingServed(f"{store.address} serves no model to verify; publish one first, or correct the address")
    return tuple(
        model if model.damage else msgspec.structs.replace(model, damage=_damage(store, model)) for model in served
    )


def rollback(
    store: Store, group: FeatureGroup, model_name: str, version: str = "", *, other_libraries: bool = False
) -> Served:
    """Serve another version that the store still has: the one before the served one, where none is named.

    The version is verified first. One that is named is served even where none is.

    Raises StoreError where there is no such version, DamagedModel where it is not whole, WrongUsage where it was made
    with other libraries than the served one, unless that is said to be meant.
    """
    champion = store.read_index().served(group, model_name)
    target = version or _parent(store, group, model_name, _champion(store, group, model_name))
    if champion is not None and not other_libraries:
        _require_same_libraries(store, group, model_name, target, champion.version)
    return go_back(store, group, model_name, target, in_place_of=champion.version if champion else "")


def go_back(
    store: Store, group: FeatureGroup, model_name: str, version: str, in_place_of: str, *, run_id: str = ""
) -> Served:
    """Serve a version again in place of the champion, once it is verified, and see to what estimators copy.

    `run_id` is that of the run which decided so, empty for a person.

    Raises StoreError where there is no such version or another champion came in between, DamagedModel where it is not
    whole.
    """
    with tempfile.TemporaryDirectory() as scratch:
        store.fetch_version(group, model_name, version, Path(scratch) / "version")
    served = serve_again(store, group, model_name, version, in_place_of, run_id=run_id)
    dialects.derive(store)
    dialects.check(store, group, model_name, served)
    return served


def _champion(store: Store, group: FeatureGroup, model_name: str) -> Served:
    served = store.read_index().served(group, model_name)
    if served is None:
        raise StoreError(f"{store.address} serves no model {group.value}/{model_name}; see kepler-train models list")
    return served


def _parent(store: Store, group: FeatureGroup, model_name: str, champion: Served) -> str:
    try:
        parent = store.provenance_of(group, model_name, champion.version).provenance.parent
    except DamagedModel as cause:
        known = ", ".join(store.versions(group, model_name))
        raise DamagedModel(f"{cause}; name the version to go back to: {known or 'none is left'}") from cause
    if not parent:
        raise StoreError(f"{champion.version} is the first version of {group.value}/{model_name}; there is none before")
    return parent


def _require_same_libraries(store: Store, group: FeatureGroup, model_name: str, version: str, champion: str) -> None:
    """Raise WrongUsage where estimators that load the champion might not load a version."""
    made_with = store.provenance_of(group, model_name, version).provenance.candidate.runtime
    try:
        served_with = store.provenance_of(group, model_name, champion).provenance.candidate.runtime
    except DamagedModel:
        return  # nobody can tell, and a damaged champion has to be replaced
    differing = differing_versions(made_with, served_with)
    if differing:
        libraries = ", ".join(f"{library} {made_with[library]} (now {other})" for library, other in differing.items())
        raise WrongUsage(
            f"{version} of {group.value}/{model_name} was made with {libraries}, and an estimator that loads "
            "what is served now might not load it; if yours do, add --force"
        )


def _damage(store: Store, model: ServedModel) -> str:
    try:
        with tempfile.TemporaryDirectory() as scratch:
            store.fetch_version(model.group, model.model_name, model.version, Path(scratch) / "version")
        served = store.read_index().served(model.group, model.model_name)
        if served is not None and served.version == model.version:
            dialects.check(store, model.group, model.model_name, served)
            archives.check(store, model.group, model.model_name)
    except DamagedModel as error:
        return str(error)
    return ""
