"""What a command found, for a program to read: `--json PATH`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kepler_train.cli.places import file_to_write
from kepler_train.contract.documents import write_atomically
from kepler_train.contract.errors import NotWritable


def add_json_option(command: Any) -> None:
    """Add `--json PATH` to a command that reports figures; a path that cannot be written ends it before its work."""
    command.add_argument("--json", type=file_to_write, metavar="PATH", help="write the result for a program to read")


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    """Write a result as JSON where a path was given; raises NotWritable."""
    if path is None:
        return
    try:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(result, enc_hook=str), indent=1))
    except OSError as cause:
        raise NotWritable(f"cannot write the result to {path}: {cause.strerror}; is there room?") from cause
