"""The last word on a run: its record, and a red end if a training pipeline failed, after all others were published."""

from __future__ import annotations

from kepler_train.contract.errors import PipelineError
from kepler_train.contract.runs import RunRecord
from kepler_train.store import open_store


def run(record: RunRecord, store: str) -> None:
    """Keep the record of a run that got this far: the exit handler and later reports go by it.

    Raises PipelineError, naming them, where training pipelines failed; StoreError where the store fails.
    """
    open_store(store).add_run(record)
    if record.failed:
        pipelines = "training pipeline" + ("s" if len(record.failed) > 1 else "")
        raise PipelineError(
            f"{len(record.failed)} {pipelines} failed: {', '.join(record.failed)}; "
            "the report says why, the log of each train task has the rest. All others were evaluated and published"
        )
