"""What the store keeps of a run that reached its end: how far off each model in service was, and what failed."""

from __future__ import annotations

from datetime import datetime

import msgspec

from kepler_train.contract.documents import Document

RUNS = "runs/"
"""Where the store keeps them: below it, `<run id>.json` each, which sort by time."""


class ServiceError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The error of a model that is in service after a run, on that run's held-out rows."""

    version: str
    mape_percent: float


class RunRecord(Document, frozen=True, kw_only=True):
    """A run on Kubeflow whose last task was reached: one without a record was cut short, or failed before."""

    run_id: str
    ended: datetime
    failed: tuple[str, ...] = ()
    """The training pipelines that failed, `Group/model`: empty for a run that ended green."""
    errors: dict[str, ServiceError] = msgspec.field(default_factory=dict)
    """`Group/model` to the error of what is served under that name."""


def run_key(run_id: str) -> str:
    """The store key of a run's record."""
    return f"{RUNS}{run_id}.json"
