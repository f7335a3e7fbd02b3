"""What the commands of the benchmarks share: options, notes, tables for people and JSON for programs."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import tables
from benchmarks.figures import Report

Measure = Callable[[bool, Report], None]
"""Puts figures into a report; quickly, if told so, when figures mean little."""


def run(name: str, description: str, measures: Sequence[Measure], arguments: Sequence[str] | None) -> int:
    """Measure, print the tables, and write the same figures as JSON."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    parser.add_argument("--quick", action="store_true", help="see that all works; the figures mean little")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the same figures to this file")
    asked = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    report, began = Report(), time.time()
    report.notes.append(f"load average before: {_load()}")
    for measure in measures:
        measure(asked.quick, report)
    report.notes.append(f"load average after: {_load()}")
    print(tables.text(report))
    if asked.json:
        tables.write_json(report, {"quick": asked.quick, "seconds": round(time.time() - began, 1)}, asked.json)
    return 0


def _load() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())
