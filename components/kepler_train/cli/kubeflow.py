"""`compile` the workflow for Kubeflow."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kepler_train.cli.run import add_groups_option, catalogue_of, require_kfp
from kepler_train.contract.errors import WrongUsage

if TYPE_CHECKING:
    from kepler_workflow.policy import Placement

_TAINT = re.compile(r"(?P<key>[^=:\s]+)(?:=(?P<value>[^:\s]*))?:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute)")


def add_commands(commands: Any) -> None:
    """Add `compile`."""
    compiled = commands.add_parser("compile", help="write the workflow as KFP IR YAML")
    compiled.add_argument("--output", type=Path, default=Path("kepler-train.yaml"), help="(default: kepler-train.yaml)")
    _add_workflow_options(compiled)
    compiled.set_defaults(command=compile_to_file)


def compile_to_file(arguments: argparse.Namespace) -> int:
    """Compile the workflow for Kubeflow."""
    require_kfp()
    from kepler_workflow.workflow import compile_workflow

    compile_workflow(arguments.output, catalogue_of(arguments.groups), _placement(arguments))
    print(arguments.output)
    return 0


def _add_workflow_options(command: argparse.ArgumentParser) -> None:
    add_groups_option(command)
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
        images=read_images(arguments.images),
        tolerations=tuple(taints),
        node_selector={key: value for key, _, value in labels},
        image_pull_secrets=tuple(arguments.image_pull_secret),
    )
