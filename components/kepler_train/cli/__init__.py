"""The command line, `kepler-train`: exit code 0, 1 where something failed, 2 where the command line cannot be meant.

Commands import what they need when they run, so that `--help` and mistakes answer at once.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from kepler_train.cli import authors, kubeflow, models, run, simulate, sync
from kepler_train.contract.errors import KeplerTrainError, WrongUsage


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors that a user can mend are shown without a traceback."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("kepler_train").setLevel(logging.INFO)
    try:
        arguments = _parser().parse_args(words)
        exit_code: int = arguments.command(arguments)
    except WrongUsage as error:
        print(f"kepler-train: {error}", file=sys.stderr)
        return 2
    except KeplerTrainError as error:
        print(f"kepler-train: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"kepler-train: {error}; is the path right, and are there permissions and room?", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("kepler-train: interrupted", file=sys.stderr)
        return 130
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kepler-train",
        description="Train Kepler's power models from what Prometheus recorded, and publish what is better.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (run, kubeflow, models, sync, authors, simulate):
        module.add_commands(commands)
    return parser
