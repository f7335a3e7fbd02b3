"""`check-pipeline`: the contract suite over an author's class."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from kepler_train.cli.results import add_json_option, write_json


def add_commands(commands: Any) -> None:
    """Add `check-pipeline`."""
    command = commands.add_parser("check-pipeline", help="check a training pipeline's class before it joins")
    command.add_argument("target", metavar="MODULE:CLASS", help="such as my_package.models:MyPipeline")
    add_json_option(command)
    command.set_defaults(command=check_pipeline)


def check_pipeline(arguments: argparse.Namespace) -> int:
    """Print what a class does and does not of what it has to do; exit code 1 if anything is missing."""
    from kepler_train.train.conformance import check

    sys.path.insert(0, "")  # an author's module may lie in this folder, as for `python -m`
    checks = check(arguments.target)
    for one in checks:
        print(f"{'ok    ' if one.passed else 'FAILED'} {one.name}{': ' if one.detail else ''}{one.detail}")
    write_json(arguments.json, {"checks": [asdict(one) for one in checks]})
    return 0 if all(one.passed for one in checks) else 1
