"""`check-pipeline`: the contract suite over an author's class."""

from __future__ import annotations

from typing import Any


def add_commands(commands: Any) -> None:
    """Add `check-pipeline`."""
