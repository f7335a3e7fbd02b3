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

GREEN, RED = ("SUCCEEDED", "COMPLETE", "CACHED"), ("FAILED", "CANCELED")
"""Words for how the tasks before the exit handler ended: kfp's, and those of ML Metadata, which Kubeflow hands on."""

_LAST_RUNS = 20
"""Among whose records a run's own is looked for: more than can have ended since its `verdict`."""

_log = logging.getLogger("kepler_train")


def run(
    *, state: str, name: str, job_id: str, store: str, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Tell how a run ended, by the engine's word `state`, by each channel whose address is in the environment.

    `name` and `job_id` are the run's in the engine. Returns what could not be told, as sentences, which are logged as
    warnings; raises nothing.
    """
    channels = {variable: send for variable, send in CHANNELS.items() if environment.get(variable)}
    problems = []
    try:
        succeeded = has_succeeded(state, store, job_id)
    except Exception as error:  # noqa: BLE001 (a run that succeeded must not end red here)
        problems.append(f"whether the run succeeded is not known, and told as a failure: {_reason(error)}")
        succeeded = False
    _log.info("the run %s %s; the engine's word is %s", name, "succeeded" if succeeded else "failed", state)
    push_end(succeeded, store, environment)
    try:
        changes = changed_models(store, job_id) if channels else ()
    except Exception as error:  # noqa: BLE001 (as above)
        problems.append(f"what the run changed is not told: {_reason(error)}")
        changes = ()
    page = f"{environment[RUNS_URL]}{job_id}" if environment.get(RUNS_URL) else ""
    for variable, send in channels.items():
        try:
            send(environment[variable], Ending(succeeded, name, store, page, changes))
        except Exception as error:  # noqa: BLE001 (as above)
            problems.append(f"the run's end could not be told to {variable}: {_reason(error)}")
    for problem in problems:
        _log.warning("%s", problem)
    return tuple(problems)


def has_succeeded(state: str, store: str, job_id: str) -> bool:
    """Tell whether a run ended green: by the engine's word if it is a last one, else by the record it left.

    Kubeflow's word is that of the metadata of a graph, which stays RUNNING behind sub-workflows and conditions that
    have ended (kubeflow/pipelines issues 11979 and 13321). The last task before the exit handler keeps a record, so
    that a run without one was cut short. Raises StoreError.
    """
    if state in GREEN or state in RED:
        return state in GREEN
    return any(is_of_run(run.run_id, job_id) and not run.failed for run in open_store(store).runs(_LAST_RUNS))


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
