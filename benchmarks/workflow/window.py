"""The windows to work on: a simulated cluster as recordings, the same hours several times, and in a Prometheus."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from benchmarks.extraction.servers import load_blocks
from tests.prometheus_server import PrometheusServer

from kepler_train.simulate.spec import SimulationSpec
from kepler_train.simulate.step import run as write_recordings

START = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
_TIME = re.compile(rb'(?<=\[)\d{10}(?=,")')
"""The time of a sample; within a string the quote would be escaped."""


@dataclass(frozen=True)
class Window:
    """A window and its recordings."""

    start: datetime
    end: datetime
    recordings: tuple[Path, ...]


def simulate(nodes: int, pods: int, minutes: float, folder: Path) -> Window:
    """Record a window."""
    spec = SimulationSpec(nodes=nodes, pods_per_node=pods, start=START, duration_seconds=60 * minutes)
    return Window(START, START + timedelta(minutes=minutes), write_recordings(spec, folder))


def repeated(window: Window, times: int, folder: Path) -> Window:
    """Let a window's hours come several times, one after the other; counters start again each time."""
    folder.mkdir()
    recordings = list(window.recordings)
    length = window.end - window.start
    for file in window.recordings:
        content = gzip.decompress(file.read_bytes())
        for number in range(1, times):
            recordings.append(folder / f"{number}-{file.name}")
            shift = round(length.total_seconds()) * number
            shifted = _TIME.sub(lambda found, shift=shift: b"%d" % (int(found[0]) + shift), content)
            recordings[-1].write_bytes(gzip.compress(shifted, compresslevel=1))
    return Window(window.start, window.start + times * length, tuple(recordings))


def load(recordings: Sequence[Path], folder: Path) -> PrometheusServer:
    """Load recordings into a Prometheus, yet to be started."""
    server = PrometheusServer(folder / "prometheus")
    load_blocks(server, recordings, folder / "samples.txt")
    return server
