"""Simulated clusters as rows with each pod's truth, and what is trained and judged on which of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

import msgspec
import numpy as np
from benchmarks.accuracy.rows import Mask, Rows

from kepler_train.contract.features import WORKLOAD_FEATURES
from kepler_train.contract.held_out import block_starts
from kepler_train.contract.parts import IntervalBatch
from kepler_train.simulate.cluster import Cluster, Node, Stretch
from kepler_train.simulate.spec import Scenario, SimulationSpec, World
from kepler_train.simulate.workloads import KINDS

INDEPENDENT_ROWS, PATTERN_ROWS, TWICE_AS_LARGE, UNSEEN_ROWS = "independent", "pattern", "2x node", "unseen kind"
NO_IDLE_TIME, KIND_LEFT_OUT = "no idle time", "a kind left out"

MIXED_NODES = 12
IDLE_RECORDING_SECONDS = 300.0
"""Where one workload varies and nothing ever rests, an idle recording is part of the window, as platforms are told."""
_OTHER_CLUSTER, _LARGE_CLUSTER = 1_000, 2_000
"""Added to the seed: rows to judge on are of other nodes than those trained on."""
_LATER = timedelta(hours=6)
_MOST_POD_ROWS = 200_000
"""Simulated at once, so that memory stays small."""


@dataclass(frozen=True)
class Test:
    """Rows to judge on, and which pod rows of each batch count (all if None)."""

    rows: Rows
    chosen: list[Mask] | None = None


@dataclass(frozen=True)
class Experiment:
    """One training window and what is judged after it; all features."""

    training: str
    """The scenario's name, or what is special about the window."""
    rows: Rows
    tests: dict[str, Test]


def experiments(
    seed: int, world: World, seconds: float, first: int | None, kinds: tuple[str, ...]
) -> Iterator[Experiment]:
    """Go through one seed's experiments in a world: the `first` windows or all, then `kinds` left out one by one."""
    base = SimulationSpec(seed=seed, world=world, duration_seconds=seconds, faults=False)
    other = msgspec.structs.replace(base, seed=seed + _OTHER_CLUSTER, duration_seconds=seconds / 2)
    large = msgspec.structs.replace(other, seed=seed + _LARGE_CLUSTER, node_scale=2.0)
    independent, twice = simulate(other), simulate(large)
    for training, spans in islice(_windows(base).items(), first):
        later = msgspec.structs.replace(spans[0], start=base.start + _LATER, duration_seconds=seconds / 2)
        tests = {INDEPENDENT_ROWS: independent, PATTERN_ROWS: simulate(later), TWICE_AS_LARGE: twice}
        yield Experiment(training, simulate(*spans), {name: Test(rows) for name, rows in tests.items()})
    unseen = _kind_rows(other)
    for kind in kinds:
        without = simulate(msgspec.structs.replace(base, kinds_left_out=(kind,)))
        yield Experiment(KIND_LEFT_OUT, without, {UNSEEN_ROWS: Test(independent, unseen[kind])})


def _windows(base: SimulationSpec) -> dict[str, tuple[SimulationSpec, ...]]:
    """Each training window as the spans it is made of, the one with its pattern first."""
    change = msgspec.structs.replace
    independent, mixes, one_varies, one_curve = (
        change(base, scenario=scenario)
        for scenario in (Scenario.INDEPENDENT, Scenario.MIXES, Scenario.ONE_VARIES, Scenario.ONE_CURVE)
    )
    mixes = change(mixes, nodes=MIXED_NODES, duration_seconds=base.duration_seconds / 2)
    idle = change(base, scenario=Scenario.IDLE, start=base.start - _LATER, duration_seconds=IDLE_RECORDING_SECONDS)
    return {
        Scenario.INDEPENDENT.value: (independent,),
        Scenario.MIXES.value: (mixes,),
        Scenario.ONE_VARIES.value: (one_varies, idle),
        Scenario.ONE_CURVE.value: (one_curve,),
        NO_IDLE_TIME: (change(base, rests=False),),
    }


def kinds_of_seed(seed: int, seeds: tuple[int, ...]) -> tuple[str, ...]:
    """Share the kinds of workload out among the seeds, so that each is left out once."""
    return tuple(kind.name for kind in KINDS[seeds.index(seed) :: len(seeds)])


def simulate(*spans: SimulationSpec) -> Rows:
    """Simulate spans of one cluster: what its nodes measured, and what each pod truly used."""
    nodes = [(spec, node) for spec in spans for node in Cluster(spec).nodes]
    stretches = [stretch for spec, node in nodes for stretch in _stretches(spec, node)]
    return Rows(
        batches=tuple(_batch(stretch) for stretch in stretches),
        truth=tuple(stretch.truth_millijoules for stretch in stretches),
        idle_millijoules={node.name: node.idle_millijoules for _, node in nodes},
    )


def _kind_rows(spec: SimulationSpec) -> dict[str, list[Mask]]:
    """Which pod rows of each batch are of each kind."""
    masks: dict[str, list[Mask]] = {kind.name: [] for kind in KINDS}
    for node in Cluster(spec).nodes:
        for stretch in _stretches(spec, node):
            kinds = np.array([pod.kind for pod in stretch.pods])[stretch.row_pod]
            for kind, chosen in masks.items():
                chosen.append(kinds == kind)
    return masks


def _stretches(spec: SimulationSpec, node: Node) -> Iterator[Stretch]:
    step = max(_MOST_POD_ROWS // spec.pods_per_node, 1)
    for first in range(0, spec.intervals, step):
        yield node.stretch(spec.first_interval + first, min(step, spec.intervals - first))


def _batch(stretch: Stretch) -> IntervalBatch:
    times = stretch.timestamp_milliseconds
    return IntervalBatch(
        node=stretch.node,
        cpu_architecture=stretch.cpu_architecture,
        features=WORKLOAD_FEATURES,
        pods=stretch.features,
        starts=np.searchsorted(stretch.row_interval, np.arange(len(times) + 1)),
        energy_millijoules=stretch.node_energy_millijoules.astype(np.float64),
        timestamp_milliseconds=times,
        block_start_seconds=block_starts(times),
    )
