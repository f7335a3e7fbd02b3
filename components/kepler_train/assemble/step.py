"""The step `assemble`: window shards to the training and held-out parts of one feature group."""

from __future__ import annotations

import logging
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from kepler_train.assemble import no_data
from kepler_train.assemble.intervals import OF_THE_GROUP, REASONS, judge
from kepler_train.assemble.join import joined
from kepler_train.assemble.part_writer import PartWriter
from kepler_train.assemble.shard import numeric_features, read_shard
from kepler_train.assemble.split_evidence import split_evidence
from kepler_train.assemble.survey import Survey, survey
from kepler_train.contract.errors import BrokenContract, NoData
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.held_out import HELD_OUT, TRAINING
from kepler_train.contract.parts import PART_FILE, NodeSummary, Part
from kepler_train.contract.tables import METRIC_OF_TABLE, NODE_STAT, PACKAGE, READ_TOO_RARELY
from kepler_train.contract.window import SHARDS, SUMMARY_FILE, Window, WindowSummary

logger = logging.getLogger("kepler_train")

_PROGRESS_EVERY_SHARDS = 100


@dataclass
class _Assembled:
    """What has been assembled so far."""

    training: PartWriter
    held_out: PartWriter
    reasons: Counter[str] = field(default_factory=Counter)
    parts_of_groups: frozenset[int] = frozenset()
    """The parts that would hold an interval if there were no reasons of the group."""
    last_milliseconds: int = 0

    @property
    def usable(self) -> int:
        return self.training.node_intervals + self.held_out.node_intervals

    @property
    def set_apart(self) -> dict[str, int]:
        return {reason: self.reasons[reason] for reason in REASONS if self.reasons[reason]}

    @property
    def others_may_do(self) -> bool:
        """Tell whether this group's features alone are why a part is empty, so that another group may have both."""
        return any(self.reasons[reason] for reason in OF_THE_GROUP) and self.parts_of_groups >= {TRAINING, HELD_OUT}


def run(windows: Sequence[Path], group: FeatureGroup, training_out: Path, held_out_out: Path) -> tuple[Part, Part]:
    """Assemble a group's training and held-out parts, one shard in memory at a time.

    `windows` are one window's folders, one for each extraction; the sum of what they read goes with the held-out part.
    Node intervals that are no whole measurement are in neither part, but counted by reason in both descriptions.
    Where either part would be empty for want of the group's own features, both are, with a note that says what to do:
    other groups can be trained. Raises NoData, with what to do, where it would be empty for every group;
    BrokenContract for a damaged window.
    """
    read = joined([WindowSummary.read(window / SUMMARY_FILE) for window in windows])
    found = survey(windows)
    _refuse_lost(read, found)
    assembled = _Assembled(_writer(training_out, group), _writer(held_out_out, group))
    from_packages = _from_packages(read, found)
    for number, folder in enumerate(found.shards, start=1):
        _add(assembled, folder, found, read.window.interval_seconds, from_packages=from_packages)
        if number % _PROGRESS_EVERY_SHARDS == 0:
            logger.info("assemble %s: %d of %d shards", group.value, number, len(found.shards))
    notes = () if from_packages else (_from_labels(read),)
    if lack := _lack(assembled, read.window.run_id):
        if not assembled.others_may_do:
            raise lack
        notes = (str(lack),)
        assembled = replace(assembled, training=_writer(training_out, group), held_out=_writer(held_out_out, group))
    training, held_out = _describe(assembled, found, read.window, notes)
    if training.pod_rows:
        training = msgspec.structs.replace(training, split_evidence=split_evidence(training_out, group))
    training.write(training_out / PART_FILE)
    held_out.write(held_out_out / PART_FILE)
    read.write(held_out_out / SUMMARY_FILE)
    logger.info("assemble %s: %s", group.value, _in_words(training, held_out))
    return training, held_out


def _writer(folder: Path, group: FeatureGroup) -> PartWriter:
    """Begin a part; what an interrupted attempt left there goes first."""
    (folder / PART_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
    (folder / SHARDS).mkdir(parents=True)
    return PartWriter(folder, group)


def _add(assembled: _Assembled, folder: Path, found: Survey, interval_seconds: float, *, from_packages: bool) -> None:
    group = assembled.training.group
    shard = read_shard(folder, group)
    intervals = judge(
        shard,
        numeric_features(group),
        found.packages[shard.node],
        from_packages=from_packages,
        interval_seconds=interval_seconds,
    )
    for writer, part in ((assembled.training, TRAINING), (assembled.held_out, HELD_OUT)):
        writer.write(shard, intervals, part, found.architectures[shard.node])
    assembled.reasons.update(intervals.reasons)
    assembled.parts_of_groups |= intervals.parts_of_groups
    assembled.last_milliseconds = max(assembled.last_milliseconds, *intervals.times[-1:].tolist(), 0)


def _refuse_lost(read: WindowSummary, found: Survey) -> None:
    if lost := sorted(set(read.nodes) - set(found.packages)):
        raise BrokenContract(f"no shards of {', '.join(lost)} are there, which were read; extract this window again")


def _lack(assembled: _Assembled, run_id: str) -> NoData | None:
    """What to tell someone where there is nothing to train on, or nothing to judge with."""
    training, usable, set_apart = assembled.training, assembled.usable, assembled.set_apart
    if not usable and not set_apart:
        return no_data.nothing_recorded(run_id)
    if not usable:
        return no_data.nothing_usable(training.group, set_apart)
    if not training.node_intervals:
        return no_data.nothing_to_train_on(training.group, usable, set_apart, assembled.last_milliseconds)
    if not assembled.held_out.node_intervals:
        return no_data.nothing_held_out(training.group, usable, set_apart, assembled.last_milliseconds)
    if not training.pod_rows:
        return no_data.no_pods_to_train_on(training.group)
    return None


def _from_packages(read: WindowSummary, found: Survey) -> bool:
    """Tell whether the package counters give the window's energy: not where most of them were read more rarely.

    An exporter that restarts is scraped at other seconds, so even then a few samples may be one interval apart.
    """
    apart = read.set_apart.get(PACKAGE, {})
    rarely = sum(apart.get(reason, 0) for reason in READ_TOO_RARELY)
    return found.has_packages and (read.rows[PACKAGE] >= rarely or not read.rows[NODE_STAT])


def _from_labels(read: WindowSummary) -> str:
    """Where node energy comes from in a window without package energies, or with hardly any."""
    metric, apart = METRIC_OF_TABLE[PACKAGE], read.set_apart.get(PACKAGE, {})
    lost = ", ".join(f"{number} {reason}" for reason, number in apart.items())
    usable = f"only {read.rows[PACKAGE]}" if read.rows[PACKAGE] else "no"
    none = (
        f"{usable} usable samples of {metric} in this window (set apart: {lost})"
        if lost
        else f"no {metric} in this window"
    )
    return f"{none}: node energy is node_curr_energy_in_pkg_joule"


def _describe(assembled: _Assembled, found: Survey, window: Window, notes: tuple[str, ...]) -> tuple[Part, Part]:
    """Describe both parts; a node that was never trained on gets the mean over the nodes that were."""
    training = assembled.training
    overall = training.energy_millijoules / max(training.node_intervals, 1)
    means = {node: totals.energy_millijoules / totals.node_intervals for node, totals in training.nodes.items()}
    least = {
        node: totals.least_millijoules
        for node, totals in training.nodes.items()
        if math.isfinite(totals.least_millijoules)
    }

    def part(writer: PartWriter, name: str) -> Part:
        return Part(
            window=window,
            group=writer.group,
            part=name,
            nodes={
                node: NodeSummary(
                    cpu_architecture=found.architectures[node],
                    node_intervals=totals.node_intervals,
                    pod_rows=totals.pod_rows,
                    mean_millijoules=means.get(node, overall),
                    least_millijoules=least.get(node, 0.0),
                )
                for node, totals in writer.nodes.items()
            },
            pod_rows=writer.pod_rows,
            node_intervals=writer.node_intervals,
            blocks=len(writer.blocks),
            set_apart=assembled.set_apart,
            without_signal=training.without_signal(found.architectures),
            notes=notes,
        )

    return part(training, "training"), part(assembled.held_out, "held_out")


def _in_words(training: Part, held_out: Part) -> str:
    apart = ", ".join(f"{number} {reason}" for reason, number in training.set_apart.items()) or "none"
    flat = f"; without signal: {', '.join(training.without_signal)}" if training.without_signal else ""
    return (
        f"{training.node_intervals} node intervals ({training.pod_rows} pod rows) to train on, "
        f"{held_out.node_intervals} ({held_out.pod_rows}) held out; set apart: {apart}{flat}"
        + "".join(f"; {note}" for note in training.notes)
    )
