"""`compile` the workflow for Kubeflow, `submit` it there for one run, or `schedule` it."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kepler_train.cli.places import file_to_write
from kepler_train.cli.results import add_json_option, write_json
from kepler_train.cli.run import (
    add_canary_option,
    add_extract_option,
    add_groups_option,
    add_runtime_option,
    add_window_options,
    catalogue_of,
    require_kfp,
)
from kepler_train.contract.errors import WrongUsage

if TYPE_CHECKING:
    from kepler_workflow.policy import Placement
    from kepler_workflow.release import Target

_TAINT = re.compile(r"(?P<key>[^=:\s]+)(?:=(?P<value>[^:\s]*))?:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute)")


def add_commands(commands: Any) -> None:
    """Add `compile`, `submit` and `schedule`."""
    compiled = commands.add_parser("compile", help="write the workflow as KFP IR YAML")
    compiled.add_argument(
        "--output", type=_workflow_file, default="kepler-train.yaml", help="(default: kepler-train.yaml)"
    )
    compiled.add_argument("--as-resources", action="store_true", help="as Pipeline and PipelineVersion resources")
    compiled.add_argument("--namespace", default="", help="of the resources (default: who applies them chooses)")
    _add_workflow_options(compiled)
    compiled.set_defaults(command=compile_to_file)

    submit = commands.add_parser("submit", help="run the workflow once on Kubeflow")
    add_window_options(submit, "--last", "--start", "--end")
    submit.set_defaults(command=submit_run)

    schedule = commands.add_parser("schedule", help="make Kubeflow run the workflow regularly, or change when and how")
    schedule.add_argument(
        "--cron", default="0 2 * * *", help="when, in the API server's time zone (default: `0 2 * * *`, at 2 at night)"
    )
    add_window_options(schedule, "--last")
    schedule.set_defaults(command=schedule_runs)

    for command in (submit, schedule):
        command.add_argument("--prometheus", required=True, metavar="URL", help="as the cluster's pods reach it")
        command.add_argument("--store", required=True, metavar="s3://BUCKET/PREFIX", help="where models are published")
        command.add_argument("--name", default="kepler-train", help="of the run in Kubeflow (default: kepler-train)")
        command.add_argument(
            "--endpoint",
            default="",
            metavar="URL",
            help="of Kubeflow's API (default: KF_PIPELINES_ENDPOINT, kubeconfig)",
        )
        command.add_argument("--namespace", default="", help="the profile to run in, where Kubeflow has several users")
        command.add_argument("--service-account", default="", metavar="NAME", help="(default: Kubeflow's)")
        _add_workflow_options(command)
        add_json_option(command)


def compile_to_file(arguments: argparse.Namespace) -> int:
    """Compile the workflow for Kubeflow."""
    require_kfp()
    from kepler_workflow.release import write_resources
    from kepler_workflow.workflow import compile_workflow

    if arguments.as_resources:
        write_resources(arguments.output, _workflow(arguments), arguments.namespace)
    else:
        catalogue, placement = catalogue_of(arguments.groups), _placement(arguments)
        graph = {"canary": arguments.canary, "extract_tasks": arguments.extract_tasks}
        compile_workflow(arguments.output, catalogue, placement, **graph)
    print(arguments.output)
    return 0


def submit_run(arguments: argparse.Namespace) -> int:
    """Run the workflow once on Kubeflow."""
    require_kfp()
    from kepler_workflow import release

    parameters = _parameters(arguments, start=arguments.start, end=arguments.end)
    with release.compiled(_workflow(arguments)) as package:
        run_id = release.submit(package, _target(arguments), arguments.name, parameters)
    write_json(arguments.json, {"run_id": run_id})
    print(f"run {run_id} is submitted")
    return 0


def schedule_runs(arguments: argparse.Namespace) -> int:
    """Create or change the recurring run on Kubeflow; the same again changes nothing."""
    require_kfp()
    from kepler_workflow import release

    parameters = _parameters(arguments)
    cron = _cron(arguments.cron)
    with release.compiled(_workflow(arguments)) as package:
        scheduled = release.schedule(package, _target(arguments), arguments.name, cron, parameters)
    write_json(arguments.json, asdict(scheduled))
    paused = "" if scheduled.enabled else "; it is paused, resume it in Kubeflow"
    print(f"recurring run {arguments.name} ({scheduled.recurring_run_id}) is {scheduled.change}: {cron}{paused}")
    return 0


def _workflow_file(text: str) -> Path:
    """Where to compile to; kfp writes YAML only."""
    if Path(text).suffix not in {".yaml", ".yml"}:
        raise WrongUsage(f"{text} does not end in .yaml; name a file such as kepler-train.yaml")
    return file_to_write(text)


def _parameters(arguments: argparse.Namespace, **times: list[str]) -> dict[str, Any]:
    """The workflow's parameters; what the first step would refuse, or no pod could reach, is refused here."""
    from kepler_train.extract import resolve

    window = {"prometheus_url": arguments.prometheus, "selector": arguments.selector, "last": arguments.last, **times}
    resolve.run(**window, now=datetime.now(timezone.utc))
    if not arguments.store.startswith("s3://"):
        raise WrongUsage(f"{arguments.store!r} would be a folder in a pod; give a bucket, such as s3://models/kepler")
    return {"store": arguments.store, **window}


def _cron(text: str) -> str:
    """Kubeflow's six fields, of which the first are the seconds, or the usual five."""
    fields = text.split()
    if len(fields) not in {5, 6}:
        raise WrongUsage(f"{text!r} is no time of a schedule; write it as `0 2 * * *`: minute hour day month weekday")
    return " ".join(["0", *fields] if len(fields) == 5 else fields)


def _target(arguments: argparse.Namespace) -> Target:
    from kepler_workflow.release import Target

    return Target(arguments.endpoint, arguments.namespace, arguments.service_account)


def _workflow(arguments: argparse.Namespace) -> Any:
    from kepler_workflow.workflow import build_workflow

    graph = {"canary": arguments.canary, "extract_tasks": arguments.extract_tasks}
    return build_workflow(catalogue_of(arguments.groups), _placement(arguments), **graph)


def _add_workflow_options(command: argparse.ArgumentParser) -> None:
    add_groups_option(command)
    add_runtime_option(command)
    add_canary_option(command)
    add_extract_option(command)
    several: dict[str, Any] = {"action": "append", "default": []}
    command.add_argument(
        "--toleration",
        **several,
        metavar="KEY[=VALUE]:EFFECT",
        help="a taint that all tasks endure, such as batch=true:NoSchedule (may be repeated)",
    )
    command.add_argument(
        "--node-selector", **several, metavar="KEY=VALUE", help="a label of the nodes for all tasks (may be repeated)"
    )
    command.add_argument(
        "--image-pull-secret", **several, metavar="NAME", help="a Secret of the registry's (may be repeated)"
    )
    command.add_argument(
        "--images", type=Path, metavar="FILE", help='JSON with other images to use, such as {"steps": "mirror/steps@…"}'
    )


def _placement(arguments: argparse.Namespace) -> Placement:
    from kepler_workflow.policy import Placement, Toleration, read_images

    taints = []
    for text in arguments.toleration:
        if (taint := _TAINT.fullmatch(text)) is None:
            raise WrongUsage(f"{text!r} is no taint; write it as batch=true:NoSchedule, or batch:NoSchedule")
        taints.append(Toleration(taint["key"], taint["value"] or "", taint["effect"]))
    labels = [text.partition("=") for text in arguments.node_selector]
    if wrong := [key for key, equals, _ in labels if not key or not equals]:
        raise WrongUsage(f"{wrong[0]!r} is no label of a node; write it as KEY=VALUE")
    return Placement(
        runtime=arguments.runtime,
        images=read_images(arguments.images),
        tolerations=tuple(taints),
        node_selector={key: value for key, _, value in labels},
        image_pull_secrets=tuple(arguments.image_pull_secret),
    )
