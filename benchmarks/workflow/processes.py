"""Measures a process and all that it starts: CPU seconds to their end, and the most memory that they hold together."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Use:
    """What a process and all that it started used."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    """The greatest sum of the processes' memory; what several share counts once."""


def use_of(module: str, arguments: Sequence[str]) -> Use:
    """Run a module in a process of its own to its end; raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", module, *arguments]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    peak, ended = 0, threading.Event()

    def look() -> None:
        nonlocal peak
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            peak = max(peak, sum(_proportional_bytes(pid) for pid in _family(process.pid)))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        ended.set()
        thread.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Use(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, peak)


def _family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    try:
        children = [
            int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()
        ]
    except OSError:
        return
    for child in children:
        yield from _family(child)


def _proportional_bytes(pid: int) -> int:
    """A process's own memory, and its part of what it shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
