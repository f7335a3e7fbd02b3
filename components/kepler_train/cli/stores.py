"""Which store a command works on, and whether it goes without signatures."""

from __future__ import annotations

import argparse
import os
from typing import Any


class _WithoutSignatures(argparse.Action):
    """Makes the choice where every process of a run finds it, in the environment, in place of any keys there."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, *_: object) -> None:
        for keys in ("KEPLER_TRAIN_SIGNING_KEY_FILE", "KEPLER_TRAIN_VERIFY_KEYS_FILE"):
            os.environ.pop(keys, None)
        os.environ["KEPLER_TRAIN_UNSIGNED"] = "true"


def add_store_options(command: Any) -> None:
    """Add `--store` and `--unsigned`."""
    command.add_argument(
        "--store", default="models", help="folder or s3://bucket/prefix of the models (default: models)"
    )
    command.add_argument(
        "--unsigned",
        action=_WithoutSignatures,
        help="neither sign nor verify models: for a trial, or a store that nobody else can write to",
    )
