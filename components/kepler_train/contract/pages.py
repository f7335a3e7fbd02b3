"""Where pages of evaluations lie beside the report, so that it can link to them."""

from __future__ import annotations

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import flat_name

EVALUATION_PAGES = "KEPLER_TRAIN_EVALUATION_PAGES"
"""The environment variable by which a local run tells the report that folder, as seen from where the report is read.

A cluster sets none: each page is an artifact of its own there, and an engine shows it in a frame that leads nowhere.
"""


def evaluation_page(group: FeatureGroup, model_name: str) -> str:
    """Name the file of a candidate's evaluation page."""
    return f"{flat_name(group, model_name)}.html"
