"""A run of kepler-estimator d351cbf: the models of one folder, listed and loaded when it starts, and its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kepler_train.contract.errors import NotLoadable
from kepler_train.estimators.d351cbf import Model, load, rank, select
from kepler_train.estimators.exporter_request import data_frame, read_request

if TYPE_CHECKING:
    from kepler_train.estimators.d351cbf import Request

_REQUEST_KEYS = ("metrics", "values")
_OPTIONAL_REQUEST_KEYS = (
    *("model_name", "filter"),
    *("core_power", "dram_power", "uncore_power", "pkg_power", "gpu_power"),
)


class FolderEstimator:
    """The models of a folder, by the error keys that `--err` names, the smallest first."""

    def __init__(self, models: Path, error_keys: Sequence[str] = ("mae",)) -> None:
        """List the folder and load what is in it; a model that does not load stays in the list, as it does there.

        Raises NotLoadable where the estimator would not start with that folder.
        """
        self._ranked = rank(models, error_keys)
        self._loaded: dict[str, Model | NotLoadable] = {}
        for listed in self._ranked:
            try:
                self._loaded[listed.model_name] = load(models / listed.model_name)
            except NotLoadable as error:
                self._loaded[listed.model_name] = error

    def answer(self, request: bytes) -> bytes:
        """Answer one request of the exporter, JSON for JSON: by the first model whose features are all in it.

        Raises NotLoadable where the estimator would have answered no powers, or nothing.
        """
        asked = read_request(request, _REQUEST_KEYS, _OPTIONAL_REQUEST_KEYS)
        frame = data_frame(asked)
        model = self._loaded[select(self._ranked, asked["metrics"]).model_name]
        if isinstance(model, NotLoadable):
            raise model
        rows = frame[list(model.metadata.features)].to_numpy()
        return json.dumps({"powers": model.powers(rows), "msg": ""}).encode()


def request_for(features: Sequence[str], rows: Request) -> bytes:
    """What an exporter sends to have rows, (m, n), estimated: columns are features by their names in models."""
    return json.dumps({"metrics": list(features), "values": rows.tolist()}).encode()
