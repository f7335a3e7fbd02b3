"""A request of the exporter, as every generation of kepler-estimator reads it: a JSON object, its rows a data frame.

Whatever is wrong with one, the estimator answers no powers. Here it raises NotLoadable, and is told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kepler_train.contract.errors import NotLoadable
from kepler_train.estimators.model_files import brief, holds_object

if TYPE_CHECKING:
    import pandas as pd  # imported where rows are read: whoever only packs or reads metadata needs none

REFUSED = "the estimator would answer no powers"


def read_request(request: bytes, required: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    """Read a request, whose keys are the required ones and no others but the optional ones; `metrics` are names."""
    try:
        asked = json.loads(request)
        nested = holds_object(list(asked.values())) if isinstance(asked, dict) else False
    except (ValueError, RecursionError) as cause:
        raise NotLoadable(f"a request is no JSON: {cause}; {REFUSED}") from cause
    if not isinstance(asked, dict) or not set(required) <= set(asked) <= {*required, *optional}:
        raise NotLoadable(
            f"a request has the keys {', '.join(required)}, and no others but {', '.join(optional)}; {REFUSED}"
        )
    if nested:
        raise NotLoadable(f"a request holds an object within the object; {REFUSED}")
    metrics = asked["metrics"]
    if not isinstance(metrics, list) or not all(isinstance(metric, str) for metric in metrics):
        raise NotLoadable(f"a request's metrics are no list of names; {REFUSED}")
    return asked


def data_frame(asked: dict[str, Any]) -> pd.DataFrame:
    """Make the data frame of a request's `values`, a column for each of its `metrics`."""
    import pandas as pd

    try:
        return pd.DataFrame(asked["values"], columns=asked["metrics"])
    except Exception as cause:
        raise NotLoadable(f"a request's values do not fit its metrics: {brief(cause)}; {REFUSED}") from cause
