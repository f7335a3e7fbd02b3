"""Measure what extraction and the whole workflow cost: `python -m benchmarks [--quick] [--json PATH]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks import command
from benchmarks.extraction.__main__ import measure as extraction
from benchmarks.workflow.__main__ import measure as workflow


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one after the other."""
    return command.run("benchmarks", __doc__ or "", (extraction, workflow), arguments)


if __name__ == "__main__":
    sys.exit(main())
