"""What a command found, for a program to read: `--json PATH`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kepler_train.contract.documents import write_atomically


def add_json_option(command: Any) -> None:
    """Add `--json PATH` to a command that reports figures."""
    command.add_argument("--json", type=Path, metavar="PATH", help="write the result for a program to read")


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    """Write a result as JSON where a path was given."""
    if path is not None:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(result, enc_hook=str), indent=1))
