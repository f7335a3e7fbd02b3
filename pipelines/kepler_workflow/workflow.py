"""The workflow: a static graph, unrolled over feature groups and training pipelines when it is compiled.

    resolve -> extract (where asked for: several, each of a share of the nodes) ->
                          for each feature group, a sub-workflow named after it:
                            assemble -> for each training pipeline: train -> evaluate -> if improved: publish
                                        (where asked for: evaluate -> canary -> publish)
            -> report -> verdict                                            exit handler: notify, always

kfp reads the annotations of workflows as types: hence no postponed annotations here.
"""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from kfp import compiler, dsl
from kfp.dsl.python_component import PythonComponent

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_workflow import steps
from kepler_workflow.policy import Placement, apply

NAME = "kepler-train"

Catalogue = Mapping[FeatureGroup, Sequence[str]]
"""Feature group to the model names of its training pipelines."""

Add = Callable[..., Any]
"""Adds a task: `add(component, title, **inputs)`."""


def build_workflow(
    catalogue: Catalogue, placement: Placement | None = None, *, canary: bool = False, extract_tasks: int = 1
) -> Any:
    """Build the workflow for these groups and training pipelines; raises WrongUsage where there is none.

    With `canary`, a champion that is new since the last run is taken back where it is worse than the version before.
    The window is read by so many tasks as `extract_tasks` says, each of which takes a share of the nodes.
    """
    if not any(catalogue.values()):
        raise WrongUsage("no training pipeline is selected; name a feature group that has one")
    if extract_tasks < 1:
        raise WrongUsage(f"a window cannot be extracted by {extract_tasks} tasks; give a number from 1")
    add = functools.partial(add_task, placement or Placement())
    windows = ["window"] if extract_tasks == 1 else [f"window_{number}" for number in range(1, extract_tasks + 1)]
    groups = {
        group: group_workflow(add, group, names, windows, canary=canary) for group, names in catalogue.items() if names
    }
    report = steps.report_of(
        decisions=[f"{group.value}_{output_of(name)}" for group in groups for name in catalogue[group]],
        parts=[f"{group.value}_held_out_part" for group in groups],
    )

    @dsl.pipeline(name=NAME)
    def workflow(  # noqa: PLR0917 (the fields of a form)
        store: str,
        prometheus_url: str = "",
        selector: str = "",
        last: list[str] = [],  # noqa: B006 (kfp reads the defaults, nobody changes them)
        start: list[str] = [],  # noqa: B006
        end: list[str] = [],  # noqa: B006
        recordings: list[str] = [],  # noqa: B006
    ) -> None:
        """Train Kepler's power models from what Prometheus recorded, and publish what is better than what is served.

        Args:
            store: Where models are published, such as s3://models/kepler.
            prometheus_url: The Prometheus that scrapes Kepler, such as http://prometheus:9090.
            selector: Label matchers of the exporter, such as job="kepler-exporter".
            last: Lengths of time that end when the run starts, such as ["24h"].
            start: Starts of further stretches of time, in UTC, such as ["2026-11-23T02:00:00Z"].
            end: Their ends, one for each start.
            recordings: Files to read in place of a Prometheus.
        """
        name = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
        job_id = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        with dsl.ExitHandler(add(steps.notify, "notify", name=name, job_id=job_id, store=store), name="training"):
            resolved = add(
                steps.resolve,
                "resolve",
                prometheus_url=prometheus_url,
                selector=selector,
                recordings=recordings,
                start=start,
                end=end,
                last=last,
                job_id=job_id,
            )
            read = extract_windows(add, windows, resolved.outputs["resolved"])
            made: dict[str, Any] = {}
            for group, sub_workflow in groups.items():
                task = sub_workflow(store=store, **read).set_display_name(group.value)
                made |= {f"{group.value}_{output}": artifact for output, artifact in task.outputs.items()}
            reported = add(report, "report", store=store, **made)
            add(steps.verdict, "verdict", record=reported.outputs["record"], store=store, job_id=job_id)

    return workflow


def extract_windows(add: Add, windows: Sequence[str], resolved: Any) -> dict[str, Any]:
    """Add a task for each window to be extracted, of as many shares of the nodes; returns them by name."""
    if len(windows) == 1:
        return {windows[0]: add(steps.extract, "extract", resolved=resolved).outputs["window"]}
    return {
        name: add(
            steps.extract,
            f"nodes {share} of {len(windows)}: extract",
            resolved=resolved,
            share=share,
            shares=len(windows),
        ).outputs["window"]
        for share, name in enumerate(windows, start=1)
    }


def group_workflow(add: Add, group: FeatureGroup, names: Sequence[str], windows: Sequence[str], *, canary: bool) -> Any:
    """Build one feature group's sub-workflow; it returns each pipeline's decision and the held-out part."""
    outputs = {output_of(name): name for name in names}
    if len(outputs) < len(names):
        raise WrongUsage(f"names of {group.value} differ only in punctuation: {', '.join(names)}; rename one")
    fields = [(output, dsl.Artifact) for output in [*outputs, "held_out_part"]]
    returned = cast(Any, NamedTuple)("Returned", fields)

    def sub_workflow(store: Any, *read: Any) -> Any:
        inputs = dict(zip(windows, read, strict=True))
        assembled = add(steps.assemble_of(windows), f"{group.value}: assemble", group=group.value, **inputs)
        training_part, held_out_part = assembled.outputs["training_part"], assembled.outputs["held_out_part"]
        decisions = {
            output: train_and_publish(
                add, group, name, training_part=training_part, held_out_part=held_out_part, store=store, canary=canary
            )
            for output, name in outputs.items()
        }
        return returned(**decisions, held_out_part=held_out_part)

    # kfp reads inputs from the signature, which is known only now.
    sub_workflow.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_input("store", str), *(_input(window, dsl.Input[dsl.Dataset]) for window in windows)],
        return_annotation=returned,
    )
    description = f"Train and judge models of {', '.join(group.features)}."
    return dsl.pipeline(name=group.value, description=description)(sub_workflow)


def _input(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)


def train_and_publish(
    add: Add, group: FeatureGroup, name: str, *, training_part: Any, held_out_part: Any, store: Any, canary: bool
) -> Any:
    """Add one training pipeline's tasks; returns its decision."""
    title = f"{group.value} / {name}"
    trained = add(steps.train, f"{title}: train", training_part=training_part, pipeline=f"{group.value}/{name}")
    candidate = trained.outputs["candidate"]
    judged = {"candidate": candidate, "held_out_part": held_out_part, "store": store}
    evaluated = add(steps.evaluate, f"{title}: evaluate", **judged, **({"canary": True} if canary else {}))
    decision = evaluated.outputs["decision"]
    before = [add(steps.canary, f"{title}: canary", decision=decision, store=store)] if canary else []
    with dsl.If(evaluated.outputs["Output"] == True, name=f"{title}: if improved"):  # noqa: E712 (kfp's comparison)
        add(steps.publish, f"{title}: publish", candidate=candidate, decision=decision, store=store).after(*before)
    return decision


def add_task(placement: Placement, component: Any, title: str, **inputs: Any) -> Any:
    """Add a task with the policy of its step, under the name people read; one that asks for the runtime is told.

    The component, too, gets that name: kfp tells those of one name apart by numbers, in an order that changes.
    """
    if "runtime" in component.component_spec.inputs:
        inputs["runtime"] = placement.runtime.name
    named = PythonComponent(dataclasses.replace(component.component_spec, name=title), component.python_func)
    task = named(**inputs).set_display_name(title)
    apply(task, component.name, placement)
    return task


def output_of(model_name: str) -> str:
    """Name the output that carries a pipeline's decision: an identifier, as kfp wants it."""
    output = re.sub(r"\W", "_", model_name) + "_decision"
    return f"model_{output}" if output[0].isdigit() else output


def compile_workflow(
    path: Path,
    catalogue: Catalogue,
    placement: Placement | None = None,
    *,
    canary: bool = False,
    extract_tasks: int = 1,
) -> None:
    """Write the workflow as KFP IR YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    workflow = build_workflow(catalogue, placement, canary=canary, extract_tasks=extract_tasks)
    compiler.Compiler().compile(workflow, str(path))
