"""The workflow as `kepler-train run` runs it: every step as a task of kfp.local, in processes of their own.

python -m benchmarks.workflow.own TASK DONE
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.workflow.task import Done, StepUse, Task, read_task, write

from kepler_train.contract.tables import POD_STAT
from kepler_train.contract.window import SUMMARY_FILE, WindowSummary
from kepler_train.store.signatures import SIGNING_KEY_FILE, UNSIGNED, VERIFY_KEYS_FILE
from kepler_workflow.local import run_locally


def run(task: Task) -> Done:
    """Run the workflow into an empty store, so that what beats a constant is published."""
    clock = "%Y-%m-%dT%H:%M:%SZ"
    source = {"recordings": list(task.recordings)} if task.recordings else {"prometheus_url": task.prometheus_url}
    parameters = {
        "store": str(task.folder / "store"),
        "start": [task.start.strftime(clock)],
        "end": [task.end.strftime(clock)],
        **source,
    }
    for key in (SIGNING_KEY_FILE, VERIFY_KEYS_FILE):
        os.environ.pop(key, None)
    os.environ[UNSIGNED] = "true"  # nobody's keys are asked for; a signature takes milliseconds
    outcome = run_locally(task.groups, parameters, task.folder / "run", sys.stderr)
    if outcome.failures:
        sys.exit("\n".join(f"{failure.task}: {failure.message}" for failure in outcome.failures))
    (window,) = outcome.folder.glob(f"artifacts/*/*/window/{SUMMARY_FILE}")
    # A task's title ends in its step.
    steps = (StepUse(use.task.rpartition(": ")[2], use.cpu_seconds, use.peak_bytes) for use in outcome.tasks)
    return Done(WindowSummary.read(window).rows[POD_STAT], tuple(steps))


if __name__ == "__main__":
    write(Path(sys.argv[2]), run(read_task(Path(sys.argv[1]))))
