"""Measure what the whole workflow costs: `python -m benchmarks.workflow [--quick] [--json PATH]`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import command
from benchmarks.figures import Report
from benchmarks.workflow.processes import Use, use_of
from benchmarks.workflow.task import Done, Task, read_done, write
from benchmarks.workflow.window import Window, load, repeated, simulate

from kepler_train.contract.features import FeatureGroup
from kepler_train.train.registry import pipelines_of

log = logging.getLogger("benchmarks.workflow")

TIMES = 4
"""How much longer the longer window is."""
MEGABYTE = 1 << 20
MILLION = 1_000_000

READING_SHARE_PERCENT = 40.0
PEAK_MEGABYTES = 2048.0
TIMES_FASTER, TIMES_SMALLER = 4.0, 5.0
TIME_GROWTH, MEMORY_GROWTH = 4.2, 1.1
"""What is to be reached; read by nothing that is measured."""

READING = ("extract", "assemble")
Pipelines = dict[str, tuple[str, ...]]
"""Feature group to names of its training pipelines."""


def shipped(*groups: FeatureGroup) -> Pipelines:
    """All pipelines of some groups."""
    return {group.value: tuple(entry.model_name for entry in pipelines_of(group)) for group in groups}


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    nodes: int
    pods: int
    minutes: float
    pipelines: Pipelines
    growing: Pipelines
    """What growth is measured with: a group costs the same as any other, at every length of the window."""


FULL = Extent(
    nodes=3,
    pods=50,
    minutes=360.0,
    pipelines=shipped(*(group for group in FeatureGroup if group is not FeatureGroup.FULL)),
    growing=shipped(FeatureGroup.COUNTER_ONLY),
)
_ONE = {FeatureGroup.BPF_ONLY.value: ("linear",)}
QUICK = Extent(nodes=2, pods=14, minutes=20.0, pipelines=_ONE, growing=_ONE)
"""Enough to see that all works; its figures mean little."""


@dataclass(frozen=True)
class Cost:
    """What a task took, as a whole and by step."""

    use: Use
    done: Done

    def of(self, *steps: str) -> tuple[float, float, int]:
        """CPU seconds of some steps, the greatest peak of one of their processes in MB, and how many there were."""
        uses = [use for use in self.done.steps if use.step in steps]
        return sum(use.cpu_seconds for use in uses), max(use.peak_bytes for use in uses) / MEGABYTE, len(uses)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for."""
    return command.run("benchmarks.workflow", __doc__ or "", (measure,), arguments)


def measure(quick: bool, report: Report) -> None:
    """Let the workflow and its peer read a Prometheus, then the workflow recordings of one length and another."""
    extent = QUICK if quick else FULL
    with TemporaryDirectory(prefix="kepler-train-benchmark-") as temporary:
        folder = Path(temporary)
        log.info("simulating %d nodes × %d pods over %g min", extent.nodes, extent.pods, extent.minutes)
        window = simulate(extent.nodes, extent.pods, extent.minutes, folder / "recordings")
        against_peer(extent.pipelines, window, folder, report)
        growth(extent.growing, window, folder, report)


def against_peer(pipelines: Pipelines, window: Window, folder: Path, report: Report) -> None:
    """Measure the workflow by step, and its peer on the same server."""
    log.info("loading the window into a Prometheus")
    with load(window.recordings, folder) as server:
        own = _cost("own", pipelines, window, folder / "own", server.url)
        peer = _cost("peer", pipelines, window, folder / "peer", server.url)
    _by_step(own, report)
    _against(own, peer, report)


def growth(pipelines: Pipelines, window: Window, folder: Path, report: Report) -> None:
    """Measure the workflow on a window and on one that is longer."""
    once = _cost("own", pipelines, window, folder / "once")
    log.info("writing %d × the recordings", TIMES)
    more = _cost("own", pipelines, repeated(window, TIMES, folder / "more-recordings"), folder / "more")
    _growth(once, more, pipelines, report)


def _cost(who: str, pipelines: Pipelines, window: Window, folder: Path, url: str = "") -> Cost:
    log.info("measuring %s over %s from %s", who, window.end - window.start, "Prometheus" if url else "recordings")
    recordings = () if url else tuple(map(str, window.recordings))
    task = Task(pipelines, window.start, window.end, folder, url, recordings)
    files = folder.with_name(f"{folder.name}-task"), folder.with_name(f"{folder.name}-done")
    write(files[0], task)
    use = use_of(f"benchmarks.workflow.{who}", [str(file) for file in files])
    return Cost(use, read_done(files[1]))


def _by_step(own: Cost, report: Report) -> None:
    rows = own.done.pod_rows
    table = f"whole workflow from Prometheus, {rows:,} pod rows"

    def add_seconds(row: str, cpu_seconds: float) -> None:
        report.add(table, row, "CPU s", cpu_seconds, unit="s")
        report.add(table, row, "CPU s per million rows", cpu_seconds / rows * MILLION, unit="s")

    for step in dict.fromkeys(use.step for use in own.done.steps):
        cpu_seconds, megabytes, tasks = own.of(step)
        report.add(table, step, "tasks", tasks, unit="tasks")
        add_seconds(step, cpu_seconds)
        report.add(table, step, "peak MB", megabytes, unit="MB")
    tasks_seconds = sum(use.cpu_seconds for use in own.done.steps)
    add_seconds("kfp.local, beside its tasks", own.use.cpu_seconds - tasks_seconds)
    add_seconds("all", own.use.cpu_seconds)
    peak = own.use.peak_bytes / MEGABYTE
    report.add(table, "all", "peak MB", peak, unit="MB", at_most=PEAK_MEGABYTES)
    share = 100 * own.of(*READING)[0] / own.use.cpu_seconds
    report.add(table, "extract and assemble", "% of CPU", share, at_most=READING_SHARE_PERCENT)


def _against(own: Cost, peer: Cost, report: Report) -> None:
    table = "against pandas from JSON, from the same Prometheus"
    for step in dict.fromkeys(use.step for use in peer.done.steps):
        report.add(table, f"pandas: {step}", "CPU s", peer.of(step)[0], unit="s")
    for name, cost in (("pandas: all", peer), ("workflow", own)):
        report.add(table, name, "CPU s", cost.use.cpu_seconds, unit="s")
        report.add(table, name, "wall s", cost.use.wall_seconds, unit="s")
        report.add(table, name, "peak MB", cost.use.peak_bytes / MEGABYTE, unit="MB")
    faster = peer.use.cpu_seconds / own.use.cpu_seconds
    smaller = peer.use.peak_bytes / own.use.peak_bytes
    report.add(table, "pandas to workflow", "CPU s", faster, unit="times", at_least=TIMES_FASTER)
    report.add(table, "pandas to workflow", "wall s", peer.use.wall_seconds / own.use.wall_seconds, unit="times")
    report.add(table, "pandas to workflow", "peak MB", smaller, unit="times", at_least=TIMES_SMALLER)


def _growth(once: Cost, more: Cost, pipelines: Pipelines, report: Report) -> None:
    rows = f"{once.done.pod_rows:,} and {more.done.pod_rows:,} pod rows"
    table = f"workflow of {' and '.join(pipelines)} from recordings, {rows}"
    for name, cost in (("1 ×", once), (f"{TIMES} ×", more)):
        report.add(table, name, "CPU s", cost.use.cpu_seconds, unit="s")
        report.add(table, name, "peak MB", cost.use.peak_bytes / MEGABYTE, unit="MB")
        for step in ("extract", "assemble", "train", "evaluate"):
            report.add(table, name, f"{step}, CPU s", cost.of(step)[0], unit="s")
            report.add(table, name, f"{step}, MB", cost.of(step)[1], unit="MB")
    growth = more.use.cpu_seconds / once.use.cpu_seconds
    report.add(table, "growth", "CPU s", growth, unit="times", at_most=TIME_GROWTH)
    memory = more.use.peak_bytes / once.use.peak_bytes
    report.add(table, "growth", "peak MB", memory, unit="times", at_most=MEMORY_GROWTH)
    for step in ("extract", "assemble", "train", "evaluate"):
        times = (more.of(step)[0] / once.of(step)[0], more.of(step)[1] / once.of(step)[1])
        report.add(table, "growth", f"{step}, CPU s", times[0], unit="times")
        report.add(table, "growth", f"{step}, MB", times[1], unit="times", at_most=MEMORY_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
