"""Run the accuracy benchmark: `python -m benchmarks.accuracy [--quick] [--json PATH]`."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

PARTS = ("sums", "splits", "timing")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for, print the tables, and write the same figures as JSON."""
    asked = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _show_progress()

    from benchmarks import tables
    from benchmarks.accuracy import recordings, splits, sums, timing
    from benchmarks.accuracy.extent import QUICK, Extent
    from benchmarks.figures import Report

    extent, report, began = QUICK if asked.quick else Extent(), Report(), time.time()
    if "sums" in asked.parts:
        files = asked.recordings or recordings.default_files()
        if files:
            sums.measure(recordings.read(files), extent, report)
        else:
            report.notes.append(
                f"NO RECORDINGS in {recordings.folder()}: sums were not measured; set KEPLER_RECORDINGS to their folder"
            )
    if "splits" in asked.parts:
        splits.measure(extent, report)
    if "timing" in asked.parts:
        timing.measure(extent, report)
    print(tables.text(report))
    if asked.json:
        tables.write_json(report, _about(asked.quick, time.time() - began), asked.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that all works; the figures mean little")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the same figures to this file")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    parser.add_argument(
        "--recordings",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="judge sums on these recordings together (default: coremark and idle in $KEPLER_RECORDINGS)",
    )
    return parser


def _show_progress() -> None:
    """Show this benchmark's own lines, and no talk of the libraries that it uses."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    log = logging.getLogger("accuracy")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    logging.getLogger("kepler_train").propagate = False
    for library in ("absl", "tensorflow"):
        logging.getLogger(library).setLevel(logging.ERROR)


def _about(quick: bool, seconds: float) -> dict[str, object]:
    versions = {name: version(name) for name in ("numpy", "scikit-learn")}
    versions["python"] = platform.python_version()
    return {"quick": quick, "seconds": round(seconds, 1), "versions": versions}


if __name__ == "__main__":
    sys.exit(main())
