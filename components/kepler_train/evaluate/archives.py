"""A candidate as later estimators get it: fetched over HTTP, and asked over the socket with what exporters send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.features import ARCHITECTURE
from kepler_train.contract.models import DYN_POWER
from kepler_train.estimators import unix_socket
from kepler_train.estimators.archive import Estimator, archive_name, archived, estimator_of, request_for
from kepler_train.estimators.d351cbf import Model, Request
from kepler_train.estimators.unix_socket import listening
from kepler_train.store.objects import LARGEST_FILE_BYTES

PODS = 3
_SAME = 1e-9
_ERRORS_BYTES = 1 << 12
"""What its metadata grows by, at most, when the model is published: errors, and a longer name."""


def ask_for_pods(model_folder: Path, model: Model, pods: Request) -> None:
    """Ask the archive of a model of pods for some pods of one node together, and for one of them alone.

    Raises NotLoadable where it cannot be used, or gives other powers than the model's folder gives to d351cbf; or where
    it is larger than what a reader of a store takes: it holds all other files, and could be published but not served.
    """
    archive = archive_of(model_folder, DYN_POWER)
    if len(archive) > LARGEST_FILE_BYTES - _ERRORS_BYTES:
        raise NotLoadable(
            f"the archive of {model.metadata.model_name} has {len(archive):,} bytes, and no file of a store may have "
            f"more than {LARGEST_FILE_BYTES:,}; use a smaller model, such as one of fewer or shallower trees"
        )
    few = _of_one_architecture(pods, model.metadata.features)[:PODS]
    with estimator_of({DYN_POWER: archive}) as estimator:
        for rows in (few, few[:1]):
            powers = np.atleast_1d(ask(estimator, DYN_POWER, model.metadata.features, rows))
            expected = model.power_array(rows)
            if not np.allclose(powers, expected, rtol=_SAME, atol=_SAME):
                raise NotLoadable(
                    f"{model.metadata.model_name} answers {powers.tolist()} from an archive and {expected.tolist()} "
                    "from its folder; both have to be the same model"
                )


def ask(estimator: Estimator, output_type: str, features: Sequence[str], rows: Request) -> list[float] | float:
    """Ask a running estimator about rows, (m, n), of one node: columns are features by their names in models."""
    request = request_for(output_type, [archive_name(feature) for feature in features], rows)
    with listening(estimator) as socket:
        return unix_socket.ask(socket, request)


def _of_one_architecture(rows: Request, features: Sequence[str]) -> Request:
    if ARCHITECTURE not in features:
        return rows
    column = rows[:, list(features).index(ARCHITECTURE)]
    chosen: Request = rows[column == column[0]]
    return chosen


def archive_of(model_folder: Path, output_type: str) -> bytes:
    """Make the archive of a candidate's model folder."""
    return archived({file.name: file.read_bytes() for file in model_folder.iterdir()}, output_type)
