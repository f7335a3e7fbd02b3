"""Trains one pipeline on a part in a process of its own, and prints the most memory that this took, in MB.

python -m benchmarks.accuracy.peak_memory PART GROUP/NAME
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from kepler_train.contract.parts import read_part
from kepler_train.train.registry import find
from kepler_train.train.step import train


def main() -> None:
    """Train, then print the kernel's high-water mark of memory in MB (that of `getrusage` may be the parent's)."""
    part, pipeline = Path(sys.argv[1]), find(sys.argv[2])
    with TemporaryDirectory() as out:
        candidate = train(part, read_part(part), pipeline, Path(out) / "candidate")
    if candidate.status != "trained":
        sys.exit(candidate.reason)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(kilobytes / 1024)


if __name__ == "__main__":
    main()
