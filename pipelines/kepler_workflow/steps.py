"""The workflow's tasks. Each is one call into the library; what a step does, it does there.

Names of outputs are read by people: every artifact is a node of the graph that Kubeflow draws. The annotations are read
by kfp, and each function's source travels alone: hence imports inside, and no postponed annotations.
"""

import functools
import linecache
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from kepler_workflow.policy import read_images

# Nothing is installed when a task starts: its image holds this project, its dependencies and kfp's executor.
step = functools.partial(dsl.component, base_image=read_images()["steps"], install_kfp_package=False)


@step
def resolve(
    *,
    prometheus_url: str,
    selector: str,
    recordings: list[str],
    start: list[str],
    end: list[str],
    last: list[str],
    job_id: str,
) -> NamedTuple("Resolved", [("resolved", str)]):
    """Fix the window in UTC and the run's id, once for all later tasks and reruns."""
    from datetime import datetime, timezone

    from kepler_train.extract import resolve

    window = resolve.run(
        prometheus_url=prometheus_url,
        selector=selector,
        recordings=recordings,
        start=start,
        end=end,
        last=last,
        job_id=job_id,
        now=datetime.now(timezone.utc),
    )
    return (window.encode().decode(),)


@step
def extract(resolved: str, window: Output[Dataset], share: int = 1, shares: int = 1) -> None:
    """Read the window, or one of several shares of its nodes, from its source into four tables."""
    from pathlib import Path

    from kepler_train.contract.window import Window
    from kepler_train.extract import step
    from kepler_train.extract.share import Share

    nodes = Share(int(share), int(shares))  # numbers of a graph travel as doubles, which would divide a hash inexactly
    step.run(Window.decode(resolved.encode(), "resolved"), Path(window.path), nodes)


@step
def train(training_part: Input[Dataset], pipeline: str, runtime: str, candidate: Output[Model]) -> None:
    """Train one pipeline; a fit that fails is a candidate that says so."""
    from pathlib import Path

    from kepler_train.train import step

    step.run(Path(training_part.path), pipeline, Path(candidate.path), runtime)


@step
def evaluate(
    *,
    candidate: Input[Model],
    held_out_part: Input[Dataset],
    store: str,
    canary: bool = False,
    decision: Output[Artifact],
    evaluation: Output[HTML],
    metrics: Output[Metrics],
) -> bool:
    """Judge candidate and champion on the same held-out rows; tells whether the candidate is better.

    The answer is an unnamed output, since kfp.local follows conditions on no other.
    """
    from pathlib import Path

    from kepler_train.evaluate import step
    from kepler_train.report import evaluation as page

    decided = step.run(Path(candidate.path), Path(held_out_part.path), store, Path(decision.path), canary)
    page.write(Path(decision.path), Path(evaluation.path))
    metrics.metadata.update(page.metrics(decided))
    return decided.improved


@step
def canary(decision: Input[Artifact], store: str) -> None:
    """Go back to the version before the champion, where that is worse on this run's rows."""
    from pathlib import Path

    from kepler_train.publish import canary

    canary.run(Path(decision.path), store)


@step
def publish(candidate: Input[Model], decision: Input[Artifact], store: str) -> NamedTuple(
    "Published", [("version", str)]
):
    """Put an improved candidate into the store and serve it."""
    from pathlib import Path

    from kepler_train.publish import step

    return (step.run_among_others(Path(candidate.path), Path(decision.path), store),)


@step
def verdict(record: str, store: str, job_id: str) -> None:
    """Finish what an interrupted publisher left, keep the run's record, and end red if training pipelines failed."""
    from kepler_train.contract.runs import RunRecord
    from kepler_train.publish import step
    from kepler_train.report import verdict

    step.catch_up(store)
    verdict.run(RunRecord.decode(record.encode(), "record"), store, job_id)


@step
def notify(status: dsl.PipelineTaskFinalStatus, name: str, job_id: str, store: str) -> None:
    """Tell how the run ended and what it changed, to whom the environment names."""
    from kepler_train.notify import step

    step.run(state=status.state, name=name, job_id=job_id, store=store)


_ASSEMBLE_SOURCE = '''\
def assemble(
{inputs}
    group: str,
    training_part: Output[Dataset],
    held_out_part: Output[Dataset],
) -> None:
    """Make a feature group's training and held-out parts."""
    from pathlib import Path

    from kepler_train.assemble import step
    from kepler_train.contract.features import group_named

    windows = [Path(window.path) for window in [{windows}]]
    step.run(windows, group_named(group), Path(training_part.path), Path(held_out_part.path))
'''

_REPORT_SOURCE = '''\
def report(
    store: str,
{inputs}
    leaderboard: Output[HTML],
    summary: Output[Markdown],
) -> NamedTuple("Reported", [("record", str)]):
    """Show what changed and why, over all groups and pipelines."""
    from pathlib import Path

    from kepler_train.notify.gateway import push_errors
    from kepler_train.report import step

    decisions = [Path(decision.path) for decision in [{decisions}]]
    parts = [{parts}]
    record = step.run(
        decisions,
        [Path(part.path) for part in parts],
        store,
        html=Path(leaderboard.path),
        markdown=Path(summary.path),
    )
    push_errors(decisions, store)
    return (record.encode().decode(),)
'''


def assemble_of(windows: Sequence[str]) -> Any:
    """Make the component of assembly for a number of extractions: one named input per window."""
    return _made_from(_ASSEMBLE_SOURCE, "assemble", inputs=_inputs(windows, "Dataset"), windows=", ".join(windows))


def report_of(decisions: Sequence[str], parts: Sequence[str]) -> Any:
    """Make the report's component for a compiled set of pipelines: one named input per decision and part."""
    inputs = _inputs([*decisions, *parts], "Artifact")
    return _made_from(_REPORT_SOURCE, "report", inputs=inputs, decisions=", ".join(decisions), parts=", ".join(parts))


def _inputs(names: Sequence[str], artifact: str) -> str:
    return "\n".join(f"    {name}: Input[{artifact}]," for name in names)


def _made_from(template: str, name: str, **words: str) -> Any:
    """Make a component whose inputs are known only when the workflow is compiled.

    kfp knows no variable number of artifacts from the tasks of a static graph, and reads a component's source where its
    function was written: so the source is made from a template, and kept where `inspect` looks for it.
    """
    source = template.format(**words)
    file = f"<{name} {hash(source)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {**vars(dsl), **vars(typing)}
    exec(compile(source, file, "exec"), namespace)  # noqa: S102 (our own templates, names that are identifiers)
    return step(namespace[name])
