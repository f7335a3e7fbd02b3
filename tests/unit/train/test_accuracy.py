"""Sum over pods plus idle against the measured node, on blocks of time never trained on."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from kepler_train.contract.features import FeatureGroup, exporter_label
from kepler_train.contract.parts import IntervalBatch
from kepler_train.train import synthetic
from kepler_train.train.additive.basis import Shape
from kepler_train.train.additive.fit import fit_additive
from kepler_train.train.shapes import SHAPES
from tests.unit.train.conftest import batches_of


def recorded(path, features):
    """One recording's node intervals: pods, and the differences of the package counters."""
    with gzip.open(path) as file:
        metrics = json.load(file)
    counters = defaultdict(dict)
    for series in metrics["node_package_energy_millijoule"]:
        for time, value in series["values"]:
            counters[time][series["metric"]["pkg_id"]] = float(value)
    pods = defaultdict(list)
    for series in metrics["pod_energy_stat"]:
        for time, _ in series["values"]:
            pods[time].append([float(series["metric"][exporter_label(feature)]) for feature in features])
    times = sorted(counters)
    energy = {
        later: sum(counters[later][package] - counters[earlier][package] for package in counters[later])
        for earlier, later in pairwise(times)
    }
    return [(time, pods[time], energy[time]) for time in sorted(energy) if pods[time] and energy[time] > 0]


def batch_of(intervals, features):
    times = np.array([time for time, _, _ in intervals])
    return IntervalBatch(
        node="node1",
        cpu_architecture="Broadwell",
        features=features,
        pods=np.concatenate([np.array(pods) for _, pods, _ in intervals]),
        starts=np.concatenate([[0], np.cumsum([len(pods) for _, pods, _ in intervals])]),
        energy_millijoules=np.array([energy for _, _, energy in intervals]),
        timestamp_milliseconds=times * 1000,
        block_start_seconds=times // 60 * 60,
    )


def mape_over_held_out_fifths(intervals, features, shape):
    blocks = {block: number for number, block in enumerate(sorted({time // 60 for time, _, _ in intervals}))}
    errors = []
    for fold in range(5):
        held = [one for one in intervals if blocks[one[0] // 60] % 5 == fold]
        rest = batch_of([one for one in intervals if blocks[one[0] // 60] % 5 != fold], features)
        found = fit_additive(lambda rest=rest: iter([rest]), features, shape)
        judged = batch_of(held, features)
        total = judged.sum_over_pods(found.pooled(judged.pods)) + found.idle_millijoules["node1"]
        errors.append(np.abs(total / judged.energy_millijoules - 1))
    return 100 * np.concatenate(errors).mean()


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("group", "most"),
    [
        (FeatureGroup.COUNTER_ONLY, 3.6),
        (FeatureGroup.WORKLOAD_ONLY, 3.5),
        (FeatureGroup.BPF_ONLY, 19.5),
        (FeatureGroup.CGROUP_ONLY, 25.0),
        (FeatureGroup.KUBELET_ONLY, 34.0),
    ],
    ids=lambda value: getattr(value, "value", None),
)
def test_recordings_of_a_real_node(recordings, group, most):
    intervals = [one for name in ("idle", "coremark") for one in recorded(recordings[name], group.features)]
    assert mape_over_held_out_fifths(intervals, group.features, SHAPES[group]) < most


@pytest.mark.recordings
def test_a_real_node_bends_so_curves_beat_lines(recordings):
    features = FeatureGroup.COUNTER_ONLY.features
    intervals = [one for name in ("idle", "coremark") for one in recorded(recordings[name], features)]
    assert mape_over_held_out_fifths(intervals, features, Shape(linear=features)) > 10


def test_synthetic_nodes_are_predicted_to_their_noise():
    features = FeatureGroup.COUNTER_ONLY.features
    [node] = synthetic.cluster(nodes=1, intervals=400)
    [batch] = batches_of([node], features, 400)
    intervals = [
        (time // 1000, batch.pods[start:end].tolist(), energy)
        for time, start, end, energy in zip(
            batch.timestamp_milliseconds.tolist(),
            batch.starts[:-1],
            batch.starts[1:],
            batch.energy_millijoules.tolist(),
            strict=True,
        )
    ]
    assert mape_over_held_out_fifths(intervals, features, SHAPES[FeatureGroup.COUNTER_ONLY]) < 1.5
