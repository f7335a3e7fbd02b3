"""`run` the workflow on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kepler_train.cli.places import folder_to_write
from kepler_train.cli.results import add_json_option, write_json
from kepler_train.cli.simulate import recent
from kepler_train.cli.stores import add_store_options
from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import FeatureGroup, group_named
from kepler_train.contract.runtimes import CURRENT, RUNTIMES, runtime_named

if TYPE_CHECKING:
    from kepler_workflow.containers import Containers
    from kepler_workflow.local import Outcome


def add_commands(commands: Any) -> None:
    """Add `run`."""
    run = commands.add_parser("run", help="train, judge and publish on this machine")
    run.add_argument(
        "--source",
        nargs="+",
        required=True,
        metavar="WORD",
        help="`simulate`, `recording FILE...` or `prometheus URL` (credentials come by environment)",
    )
    add_window_options(run, "--last", "--start", "--end")
    add_store_options(run)
    add_groups_option(run)
    add_runtime_option(run)
    add_canary_option(run)
    add_extract_option(run)
    run.add_argument(
        "--engine", choices=("process", "docker"), default="process", help="what a task runs in (default: process)"
    )
    run.add_argument("--images", type=Path, metavar="FILE", help="with --engine docker: JSON with other images to use")
    run.add_argument(
        "--runs", type=folder_to_write, default="runs", help="where the run's folder is made (default: runs)"
    )
    add_json_option(run)
    run.set_defaults(command=run_here)


def add_window_options(command: argparse.ArgumentParser, *times: str) -> None:
    """Add the exporter's selector and these ways to say which time is meant."""
    command.add_argument("--selector", default="", help='label matchers of the exporter, such as job="kepler-exporter"')
    meanings = {
        "--last": "a length of time that ends when the run starts, such as 24h",
        "--start": "start of a window, such as 2026-11-23T02:00:00Z",
        "--end": "its end",
    }
    for option in times:
        command.add_argument(option, action="append", default=[], help=f"{meanings[option]} (may be repeated)")


def add_groups_option(command: argparse.ArgumentParser) -> None:
    """Add the choice of feature groups."""
    command.add_argument(
        "--groups", nargs="+", type=group_named, metavar="GROUP", help="feature groups to train (default: all)"
    )


def add_runtime_option(command: argparse.ArgumentParser) -> None:
    """Add the choice of runtime."""
    command.add_argument(
        "--runtime",
        type=runtime_named,
        default=RUNTIMES[CURRENT],
        metavar="RUNTIME",
        help=f"what the estimators have installed that read the models: {' or '.join(RUNTIMES)} (default: {CURRENT})",
    )


def add_canary_option(command: argparse.ArgumentParser) -> None:
    """Add the choice to go back where a champion proves worse."""
    command.add_argument(
        "--canary",
        action="store_true",
        help="compare what is served since the last run with what was served before, and go back if it is worse",
    )


def add_extract_option(command: argparse.ArgumentParser) -> None:
    """Add the choice of several extractions."""
    command.add_argument(
        "--extract-tasks",
        type=whole_number,
        default=1,
        metavar="N",
        help="read the window by so many tasks, each of them a share of the nodes (default: 1)",
    )


def whole_number(text: str) -> int:
    """Read a number of tasks; argparse shows this function's name where it is none."""
    if (number := int(text)) < 1:
        raise WrongUsage(f"a window cannot be extracted by {number} tasks; give a number from 1")
    return number


def run_here(arguments: argparse.Namespace) -> int:
    """Run the workflow in processes or containers; prints what became of every pipeline, and where the report is."""
    require_kfp()
    from kepler_train.extract import resolve
    from kepler_train.simulate import step as simulate
    from kepler_train.store import open_store
    from kepler_workflow.interpreters import interpreter_of
    from kepler_workflow.local import run_locally

    catalogue = catalogue_of(arguments.groups)
    # What cannot be meant, a store that is away, of another runtime or not to be published to, and a runtime whose
    # interpreter is not to be had, are told before the work, not after.
    store = open_store(arguments.store)
    now = datetime.now(timezone.utc)
    window = {
        "selector": arguments.selector,
        "start": arguments.start,
        "end": arguments.end,
        "last": arguments.last,
        **_source(arguments.source),
    }
    resolve.run(**window, now=now)
    images = _images(arguments.images, arguments.engine)
    store.keys.require_signer(store.address)
    store.read_index().require_runtime(arguments.runtime.name, store.address)
    if "://" not in arguments.store:
        folder_to_write(arguments.store)
    if arguments.engine == "process":
        interpreter_of(arguments.runtime)
    folder = _new_folder(arguments.runs.absolute(), now)
    if arguments.source == ["simulate"]:
        window["recordings"] = [str(file) for file in simulate.run(recent(), folder / "recordings")]
    parameters = {"store": arguments.store, **window}
    containers = None
    if arguments.engine == "docker":
        if "://" not in arguments.store:
            parameters["store"] = str(Path(arguments.store).absolute())
        containers = _containers(images, parameters)
    outcome = run_locally(
        catalogue,
        parameters,
        folder,
        sys.stderr,
        arguments.runtime,
        canary=arguments.canary,
        extract_tasks=arguments.extract_tasks,
        containers=containers,
    )
    _tell(outcome)
    write_json(arguments.json, _as_json(outcome))
    return 0 if outcome.succeeded else 1


def _new_folder(runs: Path, now: datetime) -> Path:
    """Make a folder that no other run has, even one that began in the same second."""
    runs.mkdir(parents=True, exist_ok=True)
    time = f"{now:%Y%m%dT%H%M%SZ}"
    for name in chain([time], (f"{time}-{number}" for number in count(2))):
        with suppress(FileExistsError):
            (runs / name).mkdir()
            break
    return runs / name


def _images(file: Path | None, engine: str) -> dict[str, str]:
    from kepler_workflow.policy import read_images

    if file and engine != "docker":
        raise WrongUsage("--images are for containers; add --engine docker, or leave them out")
    return read_images(file)


def _containers(images: dict[str, str], parameters: dict[str, Any]) -> Containers:
    """Containers that see the recordings, and the store where it is a folder."""
    from kepler_workflow.containers import Containers

    store = [] if "://" in parameters["store"] else [Path(parameters["store"])]
    for folder in store:
        folder.mkdir(parents=True, exist_ok=True)
    return Containers(images, [Path(file) for file in parameters.get("recordings", ())], store)


def require_kfp() -> None:
    """Refuse a command that needs kfp where there is none."""
    if find_spec("kfp") is None:
        raise WrongUsage("this command needs kfp, which is not installed; install kepler-train[workflow]")


def catalogue_of(groups: Sequence[FeatureGroup] | None) -> dict[FeatureGroup, tuple[str, ...]]:
    """The training pipelines of these feature groups, or of all."""
    from kepler_train.train.registry import pipelines_of

    return {group: tuple(entry.model_name for entry in pipelines_of(group)) for group in groups or FeatureGroup}


def _source(words: Sequence[str]) -> dict[str, Any]:
    """The workflow's parameters for a source; recordings of a simulated one are yet to be made."""
    match words:
        case ["prometheus", url]:
            return {"prometheus_url": url}
        case ["recording", _, *_]:
            return {"recordings": [str(Path(file).absolute()) for file in words[1:]]}
        case ["simulate"]:
            return {"recordings": ["simulated"]}
    raise WrongUsage(f"--source is `simulate`, `recording FILE...` or `prometheus URL`, not {' '.join(words)!r}")


def _tell(outcome: Outcome) -> None:
    """Print what became of each pipeline and where to read more; what failed comes last, on stderr."""
    for decision in outcome.decisions:
        print(f"{decision.group.value} / {decision.model_name}: {decision.reason}")
    if outcome.report:
        print(f"report: {outcome.report}")
    for failure in outcome.failures:
        print(f"{failure.task} failed; its log: {failure.log}\n{failure.message}", file=sys.stderr)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "succeeded": outcome.succeeded,
        "seconds": round(outcome.seconds, 1),
        "folder": outcome.folder,
        "report": outcome.report,
        "failures": [asdict(failure) for failure in outcome.failures],
        "tasks": [asdict(task) for task in outcome.tasks],
        "decisions": outcome.decisions,
    }
