"""The last word on a run: it ends red if a training pipeline failed, said after all others were published."""

from __future__ import annotations

from collections.abc import Sequence

from kepler_train.contract.errors import PipelineError


def run(failed: Sequence[str]) -> None:
    """Do nothing for a run without failures; raises PipelineError naming the training pipelines that failed."""
    if failed:
        pipelines = "training pipeline" + ("s" if len(failed) > 1 else "")
        raise PipelineError(
            f"{len(failed)} {pipelines} failed: {', '.join(failed)}; "
            "the report says why, the log of each train task has the rest. All others were evaluated and published"
        )
