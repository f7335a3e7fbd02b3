"""The exit handler's step: how a run ended and what it changed, to whom the environment names. It never fails a run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from kepler_train.contract.errors import KeplerTrainError
from kepler_train.contract.window import is_of_run
from kepler_train.notify.channels import CHANNELS, Ending
from kepler_train.notify.gateway import push_end
from kepler_train.store import open_store

RUNS_URL = "KEPLER_TRAIN_RUNS_URL"
"""Environment: what, followed by Kubeflow's id of a run, is the run's page."""

_log = logging.getLogger("kepler_train")


def run(
    *, state: str, name: str, job_id: str, store: str, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Tell that a run ended in `state`, by each channel whose address is in the environment.

    `name` and `job_id` are the run's in the engine. Returns what could not be told, as sentences, which are logged as
    warnings; raises nothing.
    """
    _log.info("the run %s ended: %s", name, state)
    push_end(state, store, environment)
    channels = {variable: send for variable, send in CHANNELS.items() if environment.get(variable)}
    if not channels:
        return ()
    problems = []
    try:
        changes = changed_models(store, job_id)
    except Exception as error:  # noqa: BLE001 (a run that succeeded must not end red here)
        problems.append(f"what the run changed is not told: {_reason(error)}")
        changes = ()
    page = f"{environment[RUNS_URL]}{job_id}" if environment.get(RUNS_URL) else ""
    for variable, send in channels.items():
        try:
            send(environment[variable], Ending(state, name, store, page, changes))
        except Exception as error:  # noqa: BLE001 (as above)
            problems.append(f"the run's end could not be told to {variable}: {_reason(error)}")
    for problem in problems:
        _log.warning("%s", problem)
    return tuple(problems)


def changed_models(store: str, job_id: str) -> tuple[str, ...]:
    """Say of each model that this run took back, or that the store serves since, what happened, a line each.

    Raises StoreError.
    """
    opened = open_store(store)
    lines = []
    for group, model_name, served in opened.read_index().entries():
        lines += [
            f"{group.value}/{model_name} taken back: {taken.version} proved worse than the version before it"
            for taken in served.taken_back
            if is_of_run(taken.run_id, job_id)
        ]
        if is_of_run(served.version.rpartition("-")[0], job_id):
            provenance = opened.provenance_of(group, model_name, served.version).provenance
            what = "replaced" if provenance.parent else "first published"
            lines.append(f"{group.value}/{model_name} {what}: {provenance.decision.reason}")
    return tuple(lines)


def _reason(error: Exception) -> str:
    """Of our own errors the message; of others the type alone, since an address in the message may be a secret."""
    return str(error) if isinstance(error, KeplerTrainError) else type(error).__name__
