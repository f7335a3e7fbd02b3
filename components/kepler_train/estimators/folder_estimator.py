"""A run of kepler-estimator d351cbf: the models of one folder, listed and loaded when it starts, and its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kepler_train.contract.errors import NotLoadable
from kepler_train.estimators.d351cbf import Model, load, rank, select

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
        """List the folder and load what is in it; a model that does not load stays in the list, as it does there."""
        self._ranked = rank(models, error_keys)
        self._loaded: dict[str, Model | NotLoadable] = {}
        for metadata in self._ranked:
            try:
                self._loaded[metadata.model_name] = load(models / metadata.model_name)
            except NotLoadable as error:
                self._loaded[metadata.model_name] = error

    def answer(self, request: bytes) -> bytes:
        """Answer one request of the exporter, JSON for JSON: by the first model whose features are all in it.

        Raises NotLoadable where the estimator would have answered no powers, or nothing.
        """
        asked = _parsed(request)
        chosen = select(self._ranked, asked["metrics"])
        model = self._loaded[chosen.model_name]
        if isinstance(model, NotLoadable):
            raise model
        return json.dumps({"powers": model.powers(_rows(asked, chosen.features)), "msg": ""}).encode()


def request_for(features: Sequence[str], rows: Request) -> bytes:
    """What an exporter sends to have rows, (m, n), estimated: columns are features by their names in models."""
    return json.dumps({"metrics": list(features), "values": rows.tolist()}).encode()


def _parsed(request: bytes) -> dict[str, Any]:
    refused = "the estimator would answer no powers"
    try:
        asked = json.loads(request)
    except (ValueError, RecursionError) as cause:
        raise NotLoadable(f"a request is no JSON: {cause}; {refused}") from cause
    if not isinstance(asked, dict) or not set(_REQUEST_KEYS) <= set(asked) <= {*_REQUEST_KEYS, *_OPTIONAL_REQUEST_KEYS}:
        raise NotLoadable(f"a request has the keys {', '.join(_REQUEST_KEYS)}, and some others; {refused}")
    return asked


def _rows(asked: dict[str, Any], features: Sequence[str]) -> Request:
    """The (m, n) array of these features, as a data frame of the request would give it."""
    import numpy as np

    order = [asked["metrics"].index(feature) for feature in features]
    rows = [[row[index] for index in order] for row in asked["values"]]
    has_category = any(isinstance(value, str) for row in rows for value in row)
    return np.array(rows, dtype=object if has_category else None).reshape(len(rows), len(features))
