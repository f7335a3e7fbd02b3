"""What alerts and dashboards go by, at a Pushgateway: when runs ended, and how far off each model in service is now."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from kepler_train.contract.models import Decision, Score, read_decision

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PUSHGATEWAY_URL = "KEPLER_TRAIN_PUSHGATEWAY_URL"
TIMEOUT_SECONDS = 10

_log = logging.getLogger("kepler_train")


def push_end(succeeded: bool, store: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Push when the run ended and, if it succeeded, that it did; tells whether a gateway took it."""
    if not environment.get(PUSHGATEWAY_URL):
        return False
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415 (only where a gateway is given)

    registry = CollectorRegistry()
    ends = {"kepler_train_run_last_end_timestamp_seconds": "When the last run ended, however it did."}
    if succeeded:
        ends["kepler_train_run_last_success_timestamp_seconds"] = "When the last run ended that succeeded."
    for name, meaning in ends.items():
        Gauge(name, meaning, registry=registry).set(time.time())
    return _push(registry, store, environment[PUSHGATEWAY_URL])


def push_errors(decisions: Sequence[Path], store: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Push the error, scored in this run, of each model in service after it; tells whether a gateway took it."""
    if not environment.get(PUSHGATEWAY_URL):
        return False
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415 (only where a gateway is given)

    registry = CollectorRegistry()
    errors = Gauge(
        "kepler_train_model_error_percent",
        "Mean error of the model in service, on the held-out part of the last run.",
        ["feature_group", "model"],
        registry=registry,
    )
    for folder in decisions:
        decision = read_decision(folder)
        score = _score_in_service(decision)
        if score is not None:
            errors.labels(decision.group.value, decision.model_name).set(score.mape_percent)
    return _push(registry, store, environment[PUSHGATEWAY_URL])


def _score_in_service(decision: Decision) -> Score | None:
    return decision.candidate if decision.improved else decision.champion


def _push(registry: CollectorRegistry, store: str, url: str) -> bool:
    from prometheus_client import pushadd_to_gateway  # noqa: PLC0415 (only where a gateway is given)

    try:
        # Added to what is there: a failed run leaves standing when the last one succeeded.
        pushadd_to_gateway(url, "kepler-train", registry, grouping_key={"store": store}, timeout=TIMEOUT_SECONDS)
    except (OSError, ValueError, HTTPException) as error:  # the last: an address that is none, or no HTTP behind it
        # The type alone: an address may hold a password.
        _log.warning("the Pushgateway does not take the run's metrics: %s; is its address right?", type(error).__name__)
        return False
    return True
