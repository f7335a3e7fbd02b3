"""The exporter of one node: turns a stretch into labelled samples, one interval after the other, and keeps counters.

Labels and their spelling are Kepler's of autumn 2022. What Prometheus adds when it scrapes is not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from kepler_train.contract.features import WORKLOAD_FEATURES, exporter_label
from kepler_train.contract.tables import FREQUENCY, METRIC_OF_TABLE, NODE_STAT, PACKAGE, POD_STAT
from kepler_train.simulate.cluster import PACKAGES, Node, Stretch
from kepler_train.simulate.faults import (
    DRAM_WRAP_MILLIJOULES,
    PACKAGE_WRAP_MILLIJOULES,
    faults_of,
    no_faults,
)
from kepler_train.simulate.randomness import keys_of, uniform

POD_METRIC = METRIC_OF_TABLE[POD_STAT]
NODE_METRIC = METRIC_OF_TABLE[NODE_STAT]
FREQUENCY_METRIC = METRIC_OF_TABLE[FREQUENCY]
PACKAGE_METRIC = METRIC_OF_TABLE[PACKAGE]

Labels = dict[str, str]

_CURRENT = tuple(exporter_label(feature) for feature in WORKLOAD_FEATURES)
_TOTAL = tuple(f"total_{label.removeprefix('curr_')}" for label in _CURRENT)
_NODE = tuple(f"node_{label}" for label in _CURRENT)
_KUBELET = tuple(label for label in _CURRENT if "_container_" in label)
_UNSIGNED = 2**64


@dataclass(frozen=True)
class Scrape:
    """What the exporter shows of one interval: (labels, value) per sample."""

    index: int
    pods: list[tuple[Labels, str]]
    node: tuple[Labels, str]
    packages: list[tuple[Labels, str]]
    frequencies: list[tuple[Labels, str]]
    duplicates: list[tuple[Labels, str]] = field(default_factory=list)
    """Samples of pods that are stored a second time."""


class NodeExporter:
    """Keeps one node's counters over stretches that follow each other.

    Absolute values count from the first stretch on; their differences are the node's. `expected_intervals` is how many
    will follow: where counters wrap at all, they start near enough to their end to do so in that time.
    """

    def __init__(self, node: Node, expected_intervals: int) -> None:
        self._node = node
        self._pod_totals: dict[str, list[int]] = {}
        self._wrap = (PACKAGE_WRAP_MILLIJOULES, DRAM_WRAP_MILLIJOULES) if node.spec.faults else (2**62, 2**62)
        keys = keys_of(2 * PACKAGES, node.spec.seed, node.name, "counters")
        drawn = uniform(keys, np.zeros(1, dtype=np.int64)).reshape(PACKAGES, 2)
        before_wrap = node.idle_millijoules * expected_intervals / PACKAGES * np.array([1.0, 0.7])
        start = np.array(self._wrap) - (0.05 + 0.45 * drawn) * before_wrap if node.spec.faults else drawn * 1e8
        self._package_totals = np.maximum(start, 0.0).astype(np.int64)

    def scrapes(self, stretch: Stretch) -> Iterator[Scrape]:
        """Go through the intervals of a stretch that were scraped."""
        faults = faults_of(self._node.spec.seed, stretch) if self._node.spec.faults else no_faults(stretch)
        rows = np.searchsorted(stretch.row_interval, np.arange(len(stretch.index) + 1))
        mean_frequency = stretch.cpu_frequency_kilohertz.mean(axis=1)
        for at, index in enumerate(stretch.index.tolist()):
            if faults.restarted[at]:
                self._pod_totals.clear()
            if faults.rebooted[at]:
                self._package_totals[:] = 0
            self._package_totals += np.stack([stretch.package_millijoules[at], stretch.dram_millijoules[at]], axis=1)
            self._package_totals %= np.array(self._wrap)
            if faults.absent[at]:
                continue
            here = slice(rows[at], rows[at + 1])
            values = [[int(value) for value in row] for row in faults.features[here].tolist()]
            frequency = f"{mean_frequency[at]:.6f}"
            pods = []
            for row, counters in enumerate(values, start=here.start):
                labels = self._pod_labels(stretch, row, counters, frequency)
                if faults.empty_labels[row]:
                    labels.update(dict.fromkeys(_KUBELET, ""))
                value = "NaN" if faults.not_a_number[row] else str(stretch.attributed_millijoules[row])
                pods.append((labels, value))
            yield Scrape(
                index=index,
                pods=pods,
                node=(self._node_labels(stretch, at, values), "0"),
                packages=self._packages(),
                frequencies=self._frequencies(stretch, at),
                duplicates=[pods[row] for row in np.flatnonzero(faults.duplicated[here])],
            )

    def _pod_labels(self, stretch: Stretch, row: int, counters: list[int], frequency: str) -> Labels:
        pod = stretch.pods[stretch.row_pod[row]]
        before = self._pod_totals.get(pod.name)
        totals = counters if before is None else [(a + b) % _UNSIGNED for a, b in zip(before, counters, strict=True)]
        self._pod_totals[pod.name] = totals
        return {
            "avg_cpu_frequency": frequency,
            "block_devices_used": "0",
            "command": pod.command,
            **dict(zip(_CURRENT, map(str, counters), strict=True)),
            "pod_name": pod.name,
            "pod_namespace": pod.namespace,
            **dict(zip(_TOTAL, map(str, totals), strict=True)),
        }

    def _node_labels(self, stretch: Stretch, at: int, values: list[list[int]]) -> Labels:
        package = int(stretch.package_millijoules[at].sum())
        dram = int(stretch.dram_millijoules[at].sum())
        # The exporter adds unsigned numbers: an impossible one makes the sum wrap.
        sums = [sum(column) % _UNSIGNED for column in zip(*values, strict=True)] or [0] * len(_NODE)
        return {
            "cpu_architecture": stretch.cpu_architecture,
            "node_block_devices_used": "13",
            **dict(zip(_NODE, map(str, sums), strict=True)),
            "node_curr_energy_in_core_joule": f"{(package - dram) / 1000:.6f}",
            "node_curr_energy_in_dram_joule": f"{dram / 1000:.6f}",
            "node_curr_energy_in_gpu_joule": "0.000000",
            "node_curr_energy_in_other_joule": "0.000000",
            "node_curr_energy_in_pkg_joule": f"{package / 1000:.6f}",
            "node_curr_energy_in_uncore_joule": "0.000000",
            "node_name": stretch.node,
        }

    def _packages(self) -> list[tuple[Labels, str]]:
        samples = []
        for number, (package, dram) in enumerate(self._package_totals.tolist()):
            labels = {"core": "0", "dram": str(dram), "instance": self._node.name, "pkg_id": str(number), "uncore": "0"}
            samples.append((labels, str(package)))
        return samples

    def _frequencies(self, stretch: Stretch, at: int) -> list[tuple[Labels, str]]:
        """In kHz, whatever the metric's name says."""
        return [
            ({"cpu": str(cpu), "instance": self._node.name}, str(kilohertz))
            for cpu, kilohertz in enumerate(stretch.cpu_frequency_kilohertz[at].tolist())
        ]
