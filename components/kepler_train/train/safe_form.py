"""A scikit-learn model beside its pickles in a form that holds no code: skops, for readers other than kepler-estimator.

A pickle runs what it says when it is opened. A skops file is read only after its types were listed, and one that names
any but scikit-learn's and NumPy's own is not written here, nor read. Keras models keep their h5, which is no pickle.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.models import SAFE_FILE
from kepler_train.estimators.d351cbf import Model, read_metadata

if TYPE_CHECKING:
    from kepler_train.train.pipeline import Fitted

logger = logging.getLogger("kepler_train")


def write_safe_form(fitted: Fitted, model_class: str, folder: Path) -> None:
    """Write `model.skops` into a candidate's folder where the model has a safe form and the runtime has skops.

    It has none in the runtime of 2022, whose scikit-learn is older than any that skops supports.
    """
    (folder / SAFE_FILE).unlink(missing_ok=True)
    if model_class != "scikit" or find_spec("skops") is None:
        return
    import skops.io

    parts = {"transformers": [fitted.scaler, *fitted.transformers.values()], "model": fitted.model}
    try:
        content = skops.io.dumps(parts, compression=ZIP_DEFLATED)
        unknown = skops.io.get_untrusted_types(data=content)
    except Exception as cause:  # noqa: BLE001 (an author's class may be anything; its pickles are what counts)
        logger.info("no safe form beside the pickles: %s", cause)
        return
    if unknown:
        logger.info("no safe form beside the pickles, since they hold %s", ", ".join(unknown))
        return
    (folder / SAFE_FILE).write_bytes(content)


def load_safe_form(version: Path, model_name: str) -> Model:
    """Load a version's model from its safe form; nothing is constructed that is not scikit-learn's or NumPy's own.

    Raises NotLoadable where the file is missing, holds other types, or is none.
    """
    import skops.io

    path = version / SAFE_FILE
    metadata = read_metadata(version, model_name)
    try:
        parts = skops.io.load(path)  # refuses types that are not trusted by default
        return Model(metadata, tuple(parts["transformers"]), parts["model"])
    except Exception as cause:
        raise NotLoadable(f"cannot load {path}: {cause}; use the pickles, if they are signed") from cause
