"""A scikit-learn model beside its pickles in a form that holds no code: skops, for readers other than kepler-estimator.

A pickle runs what it says when it is opened. Of a skops file the types can be listed before it is read, and one that
names any but scikit-learn's and NumPy's own is not written here. Keras models keep their h5, which is no pickle.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED

from kepler_train.contract.models import SAFE_FILE

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
