"""The last word on a run: its record, and a red end if a training pipeline failed, after all others were published."""

from __future__ import annotations

from uuid import UUID

from kepler_train.contract.errors import PipelineError
from kepler_train.contract.runs import RunRecord
from kepler_train.store import open_store


def run(record: RunRecord, store: str, job_id: str) -> None:
    """Keep the record of a run on Kubeflow that got this far: the exit handler and later reports go by it.

    `job_id` is the run's in the engine. A run on one machine, whose engine knows how it ended, leaves no record: if it
    improves nothing, the store stays as it was.

    Raises PipelineError, naming them, where training pipelines failed; StoreError where the store fails.
    """
    if _is_kubeflows(job_id):
        open_store(store).add_run(record)
    if record.failed:
        pipelines = "training pipeline" + ("s" if len(record.failed) > 1 else "")
        raise PipelineError(
            f"{len(record.failed)} {pipelines} failed: {', '.join(record.failed)}; "
            "the report says why, the log of each train task has the rest. All others were evaluated and published"
        )


def _is_kubeflows(job_id: str) -> bool:
    """Tell whether an id is one of Kubeflow's, which are UUIDs; kfp on one machine gives a number."""
    try:
        UUID(job_id)
    except ValueError:
        return False
    return True
