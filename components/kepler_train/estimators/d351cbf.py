"""What kepler-estimator does with a model as of its commit d351cbf, done here exactly as it does it.

The estimator prints what goes wrong and goes on: a model it dropped, or one that answers no powers, shows nowhere. Here
each of these raises NotLoadable and says what the estimator would have done. Stricter than the estimator are only the
refusals of file names that lead out of the folder, which a published model cannot bring along, and of huge metadata.

Pickles are opened: verify where a folder comes from before loading it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.models import METADATA_FILE, SCALER_FILE
from kepler_train.estimators.model_files import (
    ERROR_KEYS,
    brief,
    keras_model,
    keras_predict,
    names,
    read_flat_object,
    unpickled,
)

if TYPE_CHECKING:
    import numpy as np  # imported where a model is asked: whoever only reads metadata needs none
    import numpy.typing as npt

REQUIRED_KEYS = ("model_class", "model_name", "model_file", "features")

_DROPPED = "the estimator would print an error and go on without this model"
_SILENT = "the estimator would still choose this model by its metadata and then answer no powers"
_DEAD = "the estimator's connection would die without an answer"

_LARGEST_ERROR = 1e300
_ROWS_AT_ONCE = 8192

Request: TypeAlias = "npt.NDArray[Any]"
"""(m, n): a row per pod, columns in the order of the model's features; of dtype object with a category among them."""

FAR_BEYOND = 10.0
"""How many times the work that was seen a pod must still get a finite power for: estimators meet larger nodes."""


def scaled(request: Request, times: float) -> Request:
    """The same pods, one or more, with so many times their work; categories stay."""
    request = request.copy()
    numeric = [not isinstance(value, str) for value in request[0]]
    request[:, numeric] = request[:, numeric] * times
    return request


@dataclass(frozen=True)
class Metadata:
    """What the estimator reads of a model's `metadata.json`."""

    model_name: str
    model_class: str
    model_file: str
    features: tuple[str, ...]
    fe_files: tuple[str, ...]
    errors: dict[str, float]
    """Error key to value, those that are given."""


@dataclass(frozen=True)
class Listed:
    """What the estimator chooses a model by; whether the model is of any use shows only when it is asked."""

    model_name: str
    """Its folder's."""
    features: tuple[Any, ...]
    """What is no name is in no request, so that the model is never chosen."""
    errors: dict[str, float]


@dataclass(frozen=True)
class Model:
    """A model as the estimator holds it: a scaler, transformers, and the model itself."""

    metadata: Metadata
    transformers: tuple[Any, ...]
    """The scaler, then what `fe_files` names."""
    model: Any

    def powers(self, request: Request) -> list[float]:
        """Answer one request, (m, n), as the estimator would: a power in mJ per interval for each of m pods.

        Raises NotLoadable where the estimator would have answered nothing, or no usable number for each pod.
        """
        answer = list(self._answer(request))
        try:
            json.dumps(answer)
        except TypeError as cause:
            raise NotLoadable(f"{self._name}'s answer is not JSON: {brief(cause)}; {_DEAD}") from cause
        return answer

    def power_array(self, rows: Request) -> npt.NDArray[np.float64]:
        """Score many rows, (m, n), as `powers` would, in bounded memory; (m,) mJ per interval.

        What each row gets is what it gets alone only from a model that looks at rows one by one.
        """
        import numpy as np

        starts = range(0, len(rows), _ROWS_AT_ONCE)
        chunks = [self._answer(rows[start : start + _ROWS_AT_ONCE], scoring=True) for start in starts]
        return np.concatenate(chunks) if chunks else np.empty(0)

    @property
    def _name(self) -> str:
        return self.metadata.model_name

    def _answer(self, request: Request, *, scoring: bool = False) -> npt.NDArray[np.float64]:
        import numpy as np

        try:
            x = request
            for transformer in self.transformers:
                x = transformer.transform(x)
            if self.metadata.model_class != "keras":
                y = self.model.predict(x)
            else:
                y = keras_predict(self.model, x) if scoring else self.model.predict(x, verbose=0)
            y[y < 0] = 0
        except Exception as cause:
            pods = f"{len(request)} pod{'s' if len(request) != 1 else ''}"
            raise NotLoadable(
                f"{self._name} fails for {pods}: {brief(cause)}; the estimator would answer no powers"
            ) from cause
        if not isinstance(y, np.ndarray) or y.dtype != np.float64 or y.ndim != 1:
            form = f"{y.dtype} of shape {y.shape}" if isinstance(y, np.ndarray) else type(y).__name__
            raise NotLoadable(f"{self._name} predicts {form}, not float64 of one dimension; {_DEAD}")
        if len(y) != len(request):
            raise NotLoadable(
                f"{self._name} answers {len(y)} powers for {len(request)} pods; the estimator would hand them out to "
                "the wrong pods"
            )
        if not np.isfinite(y).all():
            raise NotLoadable(f"{self._name} predicts NaN or infinity; the estimator's answer would be no valid JSON")
        return y


def load(folder: Path, served_as: str | None = None) -> Model:
    """Load a model's folder as the estimator does when it starts.

    `served_as` is the name of the folder that the model will be served in, where that is not this folder's own: the
    estimator finds a model's files under its name. Raises NotLoadable where the estimator would be left without a model
    that works.
    """
    metadata = read_metadata(folder, served_as)
    transformers = tuple(unpickled(folder / file, _SILENT) for file in (SCALER_FILE, *metadata.fe_files))
    read = keras_model if metadata.model_class == "keras" else unpickled
    return Model(metadata, transformers, read(folder / metadata.model_file, _SILENT))


def rank(models: Path, error_keys: Sequence[str] = ("mae",)) -> list[Listed]:
    """List a folder of models as the estimator does when it starts, the smallest error first.

    One whose metadata it drops is not there. Any other is, even if nothing else about it is right: it may be chosen,
    and silences the node then. The estimator leaves ties to chance; here the name decides.

    Raises NotLoadable where the estimator would not start, or would end when it is asked.
    """
    known: list[Listed] = []
    for folder in (path for path in models.iterdir() if path.is_dir()):
        path = folder / METADATA_FILE
        try:
            content = read_flat_object(path, REQUIRED_KEYS, _DROPPED)
        except NotLoadable:
            continue
        if not isinstance(content["features"], list):
            raise NotLoadable(f"{path}: features are no list: the estimator would end at the first request")
        known.append(Listed(folder.name, tuple(content["features"]), _errors(path, content)))
    return sorted(known, key=lambda model: ([model.errors.get(key, math.inf) for key in error_keys], model.model_name))


def select(ranked: Sequence[Listed], features: Sequence[str]) -> Listed:
    """Choose a model as the estimator does: the first whose features are all in the request.

    Raises NotLoadable where there is none, and the estimator would answer no powers.
    """
    for listed in ranked:
        if all(feature in features for feature in listed.features):
            return listed
    names = ", ".join(features)
    raise NotLoadable(f"none of {len(ranked)} models can do with {names}; the estimator would answer no powers")


def read_metadata(folder: Path, served_as: str | None = None) -> Metadata:
    """Read and check a model's metadata.

    Raises NotLoadable where the estimator would drop the model for it, answer no powers, or not start.
    """
    path = folder / METADATA_FILE
    content = read_flat_object(path, REQUIRED_KEYS, _DROPPED)
    name = served_as if served_as is not None else folder.name
    if content["model_name"] != name:
        raise NotLoadable(
            f"{path}: model_name {content['model_name']!r} is not the folder's name {name!r}, under which its files "
            f"are: {_SILENT}"
        )
    return Metadata(
        model_name=name,
        model_class=content["model_class"],
        model_file=names(path, "model_file", [content["model_file"]], _SILENT)[0],
        features=names(path, "features", content["features"], _SILENT),
        fe_files=names(path, "fe_files", content.get("fe_files", []), _SILENT),
        errors=_errors(path, content),
    )


def _errors(path: Path, content: dict[str, Any]) -> dict[str, float]:
    given = {key: content[key] for key in ERROR_KEYS if content.get(key) is not None}
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST_ERROR:
            raise NotLoadable(f"{path}: {key} is {value!r}, no number: the estimator sorts by it and would not start")
    return {key: float(value) for key, value in given.items()}
