"""Synthetic training parts, whose every pod's power is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kepler_train.contract.features import ARCHITECTURE, WORKLOAD_FEATURES, FeatureGroup
from kepler_train.contract.parts import IntervalBatch
from kepler_train.train import synthetic

PartOf = Callable[[FeatureGroup], Path]


@pytest.fixture(scope="session")
def nodes() -> list[synthetic.SyntheticNode]:
    return synthetic.cluster(nodes=2, intervals=400)


@pytest.fixture(scope="session")
def part_of(nodes, tmp_path_factory) -> PartOf:
    """Gives the folder of a group's training part; Full has two architectures."""
    parts: dict[FeatureGroup, Path] = {}

    def give(group: FeatureGroup) -> Path:
        if group not in parts:
            parts[group] = tmp_path_factory.mktemp(group.value) / "part"
            mixed = synthetic.cluster(nodes=2, intervals=400, architectures=tuple(synthetic.ARCHITECTURE_FACTORS))
            synthetic.write_part(mixed if ARCHITECTURE in group.features else nodes, group, parts[group])
        return parts[group]

    return give


def batches_of(
    nodes: list[synthetic.SyntheticNode], features: tuple[str, ...], intervals_each: int = 100
) -> list[IntervalBatch]:
    """All intervals of nodes in batches of so many intervals."""
    columns = [WORKLOAD_FEATURES.index(feature) for feature in features]
    batches = []
    for node in nodes:
        pods = node.pods_per_interval
        for first in range(0, len(node.energy_millijoules), intervals_each):
            last = min(first + intervals_each, len(node.energy_millijoules))
            times = node.timestamp_milliseconds[first:last]
            batches.append(
                IntervalBatch(
                    node=node.name,
                    cpu_architecture=node.cpu_architecture,
                    features=features,
                    pods=node.pods[first * pods : last * pods][:, columns],
                    starts=np.arange(last - first + 1) * pods,
                    energy_millijoules=node.energy_millijoules[first:last],
                    timestamp_milliseconds=times,
                    block_start_seconds=times // 60_000 * 60,
                )
            )
    return batches
