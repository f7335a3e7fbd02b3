"""Whether a model names nothing but what an estimator has: classes and functions of stock packages.

A pickle and a Keras model hold no code, only the names of what they are made of. Where models are trained and judged,
their author's package is installed as well, so that one may open here and nowhere else.
"""

from __future__ import annotations

import builtins
import json
import pickle
from pathlib import Path
from typing import Any

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.models import SCALER_FILE
from kepler_train.estimators.d351cbf import read_metadata
from kepler_train.estimators.model_files import brief

PACKAGES = frozenset({"joblib", "numpy", "scipy", "sklearn"})

_BUILTINS = ("builtins", "__builtin__")
"""As pickles of protocol 3 and later call it, and as older ones do."""
_STANDARD = frozenset(
    {
        "_codecs.encode",
        "collections.OrderedDict",
        "collections.defaultdict",
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "functools.partial",
    }
)
"""Of Python's own library: what stock models are pickled with."""


def require_stock(folder: Path, served_as: str) -> None:
    """Check a model's folder before it is loaded: nothing is imported or built that is not stock.

    Raises NotLoadable for the first class or function that an estimator would not have, or a file that cannot be read.
    """
    metadata = read_metadata(folder, served_as)
    keras = metadata.model_class == "keras"
    for name in (SCALER_FILE, *metadata.fe_files, *(() if keras else (metadata.model_file,))):
        _require_stock_pickle(folder / name)
    if keras:
        _require_stock_layers(folder / metadata.model_file)


class _Foreign(Exception):
    """A name of something that is not stock."""


class _Stock(pickle.Unpickler):
    """Opens a pickle until it names something that is not stock."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        full_name = f"{module_name}.{global_name}"
        if not (
            module_name.partition(".")[0] in PACKAGES
            or full_name in _STANDARD
            or (module_name in _BUILTINS and isinstance(getattr(builtins, global_name, None), type))
        ):
            raise _Foreign(full_name)
        return super().find_class(module_name, global_name)


def _require_stock_pickle(path: Path) -> None:
    try:
        with path.open("rb") as content:
            _Stock(content).load()
    except _Foreign as foreign:
        raise NotLoadable(
            f"{path.name} holds {foreign}, which no estimator has; use classes and functions of scikit-learn, numpy "
            "and scipy only"
        ) from foreign
    except Exception as cause:
        raise NotLoadable(f"cannot load {path}: {brief(cause)}") from cause


def _require_stock_layers(path: Path) -> None:
    try:
        import h5py  # type: ignore[import-untyped]

        with h5py.File(path, "r") as file:
            config = json.loads(file.attrs["model_config"])
    except Exception as cause:
        raise NotLoadable(f"cannot load {path}: {brief(cause)}") from cause
    if foreign := _foreign(config):
        raise NotLoadable(
            f"{path.name} holds {foreign}, which no estimator has; use layers and functions of Keras only"
        )


def _foreign(config: Any) -> str:
    """The first thing in a model's configuration that is not Keras' own, or nothing.

    A class or function that was registered with Keras is called `package>name`; any other is not found in loading. A
    Lambda layer holds code, of one version of Python.
    """
    if isinstance(config, list):
        return next(filter(None, map(_foreign, config)), "")
    if isinstance(config, dict):
        if config.get("class_name") == "Lambda":
            return "a Lambda layer"
        return next(filter(None, (_foreign(value) for key, value in config.items() if key != "name")), "")
    return config if isinstance(config, str) and ">" in config else ""
