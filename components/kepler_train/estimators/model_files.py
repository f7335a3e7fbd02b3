"""Reading a model's files as every generation of kepler-estimator does: flat metadata, pickles, Keras models.

What an estimator would do about a file it cannot use differs by generation, so each caller says it in its own words.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.models import MODEL_CLASSES

ERROR_KEYS = (
    *("mae", "mse", "mae_val", "mse_val"),
    *("abs_mae", "abs_mae_val", "abs_mse", "abs_mse_val", "abs_max_corr"),
    *("reconstructed_mae", "reconstructed_mse", "avg_mae"),
)
OPTIONAL_KEYS = ("fe_files", "abs_model", *ERROR_KEYS)

_METADATA_BYTES = 1 << 20


def read_flat_object(path: Path, required: Sequence[str], dropped: str) -> dict[str, Any]:
    """Read a metadata file whose keys are the required ones, OPTIONAL_KEYS and no others, its model class a known one.

    Raises NotLoadable, ending in `dropped`, for anything else; a huge file is refused before it is read.
    """
    content = _json_object(path, dropped)
    unknown = [key for key in content if key not in (*required, *OPTIONAL_KEYS)]
    if unknown:
        raise NotLoadable(f"{path} has the unknown key {unknown[0][:100]!r}: {dropped}")
    missing = [key for key in required if key not in content]
    if missing:
        raise NotLoadable(f"{path} lacks {', '.join(missing)}: {dropped}")
    model_class = content["model_class"]
    if not isinstance(model_class, str) or model_class not in MODEL_CLASSES:
        raise NotLoadable(f"{path}: model_class {model_class!r} is not {' or '.join(MODEL_CLASSES)}: {dropped}")
    return content


def names(path: Path, key: str, values: Any, silent: str) -> tuple[str, ...]:
    """Check that a metadata value is made of names: of features, or of files in the model's folder.

    Raises NotLoadable, ending in `silent`.
    """
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise NotLoadable(f"{path}: {key} is not made of names: {silent}")
    if key == "features" and not values:
        raise NotLoadable(f"{path}: features are empty: {silent}")
    outside = [value for value in values if key != "features" and (value in (".", "..") or set(value) & set("/\\\0"))]
    if outside:
        raise NotLoadable(f"{path}: {key} names {outside[0]!r}, which is not a file in its folder")
    return tuple(values)


def unpickled(path: Path, silent: str) -> Any:
    """Open a pickle; raises NotLoadable, ending in `silent`, whatever goes wrong in it."""
    try:
        with path.open("rb") as content:
            return pickle.load(content)  # noqa: S301 (the estimator's format; whoever calls has verified the files)
    except Exception as cause:
        raise NotLoadable(f"cannot load {path}: {brief(cause)}; {silent}") from cause


def keras_model(path: Path, silent: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Open a Keras model; raises NotLoadable, ending in `silent`, whatever goes wrong in it."""
    try:
        import keras

        return keras.models.load_model(str(path), custom_objects=custom_objects)
    except Exception as cause:
        raise NotLoadable(f"cannot load {path}: {brief(cause)}; {silent}") from cause


def keras_predict(model: Any, rows: Any) -> Any:
    """What a Keras model's `predict` gives for these rows, but for rounding, without what that does around a network.

    `predict` makes a dataset for each call, which takes a hundred times as long as the network, cuts it into batches of
    32, and brings numbers to Keras's own precision first.
    """
    import keras
    import numpy as np

    return model.predict_on_batch(np.asarray(rows, dtype=keras.backend.floatx()))


def brief(cause: Exception) -> str:
    """The first line of an error, since libraries explain themselves at length."""
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0][:200]}" if lines else type(cause).__name__


def holds_object(value: Any) -> bool:
    """Tell whether there is a JSON object in a value: the estimators make more of one than its content."""
    return isinstance(value, dict) or (isinstance(value, list) and any(holds_object(item) for item in value))


def _json_object(path: Path, dropped: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > _METADATA_BYTES:
            raise NotLoadable(f"{path} is larger than {_METADATA_BYTES} bytes; no model needs that")
        content = json.loads(path.read_text(encoding="utf-8"))
        nested = holds_object(list(content.values())) if isinstance(content, dict) else False
    except (OSError, ValueError, RecursionError) as cause:
        raise NotLoadable(f"cannot read {path}: {cause}; {dropped}") from cause
    if not isinstance(content, dict):
        raise NotLoadable(f"{path} is not a JSON object: {dropped}")
    if nested:
        raise NotLoadable(f"{path} holds an object within the object: {dropped}")
    return content
