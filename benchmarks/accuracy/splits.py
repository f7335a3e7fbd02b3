"""Part two: each pod's energy against the truth, on simulated clusters."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from benchmarks.accuracy import peers, targets
from benchmarks.accuracy.extent import Extent
from benchmarks.accuracy.metrics import idle_error, judge, split_error, sum_errors
from benchmarks.accuracy.peers import Fit
from benchmarks.accuracy.rows import Rows
from benchmarks.accuracy.shipped import BASELINE, fit_shipped, judged
from benchmarks.accuracy.simulated import (
    INDEPENDENT_ROWS,
    KIND_LEFT_OUT,
    PATTERN_ROWS,
    TWICE_AS_LARGE,
    UNSEEN_ROWS,
    Experiment,
    experiments,
    kinds_of_seed,
)
from benchmarks.figures import Report

from kepler_train.contract.features import FeatureGroup
from kepler_train.simulate.spec import World

log = logging.getLogger("accuracy")

GROUPS = (FeatureGroup.COUNTER_ONLY, FeatureGroup.WORKLOAD_ONLY)
IDLE, SUM = "idle", "sum"
COLUMNS = (INDEPENDENT_ROWS, PATTERN_ROWS, TWICE_AS_LARGE, UNSEEN_ROWS, SUM, IDLE)
SHIPPED = "shipped: "

Key = tuple[World, FeatureGroup, str, str, str]
"""World, group, training window, model, column."""
Found = dict[Key, list[float]]


def measure(extent: Extent, report: Report) -> None:
    """Train on each window of each seed, and report means over seeds."""
    found: Found = defaultdict(list)
    for world in extent.worlds:
        for seed in extent.seeds:
            kinds = kinds_of_seed(seed, extent.seeds)[: extent.kinds_left_out]
            for experiment in experiments(seed, world, extent.simulated_seconds, extent.trainings, kinds):
                for group in GROUPS[: extent.groups]:
                    _judge_all(experiment, world, group, found)
                log.info("simulator: world %s, seed %d, %s done", world.value, seed, experiment.training)
    means = {key: float(np.mean(values)) for key, values in found.items()}
    for world in extent.worlds:
        for group in GROUPS[: extent.groups]:
            _report(world, group, means, report)


def _judge_all(experiment: Experiment, world: World, group: FeatureGroup, found: Found) -> None:
    mine = _of_group(experiment, group)
    models: dict[str, Callable[[Rows], Fit]] = {**peers.reference_peers(), peers.ORACLE: peers.oracle}
    for entry in judged(group):
        models[SHIPPED + entry.model_name] = partial(fit_shipped, group, entry.model_name)
    for name, train in models.items():
        fit = train(mine.rows)
        for column, value in _errors(fit, mine).items():
            found[world, group, experiment.training, name, column].append(value)
    for column, test in experiment.tests.items():
        error = split_error(peers.share_of_cpu_time(test.rows), test.rows, test.chosen)
        found[world, group, experiment.training, peers.SHARE, column].append(error)


def _of_group(experiment: Experiment, group: FeatureGroup) -> Experiment:
    tests = {name: replace(test, rows=test.rows.of_group(group)) for name, test in experiment.tests.items()}
    return replace(experiment, rows=experiment.rows.of_group(group), tests=tests)


def _errors(fit: Fit, experiment: Experiment) -> dict[str, float]:
    errors = {column: split_error(fit, test.rows, test.chosen) for column, test in experiment.tests.items()}
    if fit.idle_millijoules:
        errors[IDLE] = idle_error(fit, experiment.rows)
        if PATTERN_ROWS in experiment.tests:
            errors[SUM] = sum_errors(judge(fit, experiment.tests[PATTERN_ROWS].rows)).mape_percent
    return errors


def _report(world: World, group: FeatureGroup, means: dict[Key, float], report: Report) -> None:
    """One table per training window, and one for what has to be better than the share of cpu time."""
    trainings = list(dict.fromkeys(key[2] for key in means if key[:2] == (world, group)))
    for training in trainings:
        models = dict.fromkeys(key[3] for key in means if key[:3] == (world, group, training))
        for model in models:
            for column in COLUMNS:
                value = means.get((world, group, training, model, column))
                if value is not None:
                    table = f"simulator, world {world.value}, {group.value}, trained on {training}: error per pod"
                    report.add(table, model, column, value, at_most=_target(world, group, training, model, column))
    table = f"simulator, world {world.value}, {group.value}: error per pod, times that of the {peers.SHARE}"
    for training in (name for name in trainings if name != KIND_LEFT_OUT):
        for key in [key for key in means if key[:3] == (world, group, training) and key[3].startswith(SHIPPED)]:
            if key[4] in (INDEPENDENT_ROWS, PATTERN_ROWS):
                times = means[key] / means[(*key[:3], peers.SHARE, key[4])]
                best = None if key[3] == SHIPPED + BASELINE else 1.0
                report.add(table, key[3], f"{training}: {key[4]}", times, unit="times", at_most=best)


def _target(world: World, group: FeatureGroup, training: str, model: str, column: str) -> float | None:
    """Targets are for the shipped pipelines but the baseline, in the world of one frequency a node."""
    if not model.startswith(SHIPPED) or model == SHIPPED + BASELINE or world is not World.SHARED:
        return None
    if column == IDLE:
        return targets.IDLE_PERCENT
    return None if column == SUM else targets.of_split(group, training, column)
