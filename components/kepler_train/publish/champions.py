"""What the index serves, as far as estimators may be given it."""

from __future__ import annotations

from kepler_train.contract.errors import DamagedModel
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Index, Served
from kepler_train.store import Store
from kepler_train.store.store import StoredProvenance


def champion_of(store: Store, index: Index, group: FeatureGroup, model_name: str, served: Served) -> StoredProvenance:
    """Read where a champion comes from, verified.

    Raises DamagedModel where that is missing, altered or not trusted, or where the champion is of another runtime than
    the index says, so that the store's estimators could not load it.
    """
    stored = store.provenance_of(group, model_name, served.version)
    runtime = stored.provenance.candidate.runtime_name
    if runtime != index.runtime:
        raise DamagedModel(
            f"{served.version} of {group.value}/{model_name} in {store.address} is of runtime {runtime}, and the index "
            f"says {index.runtime}; find out who else may write there, and publish a new model of this name"
        )
    return stored
