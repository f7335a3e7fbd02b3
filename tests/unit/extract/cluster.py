"""A small made-up cluster as Prometheus would record it, and what extraction wrote, as plain rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from kepler_train.contract.features import WORKLOAD_FEATURES, exporter_label
from kepler_train.contract.tables import NODE_ENERGY_PARTS
from kepler_train.contract.window import Window, shards_of
from kepler_train.extract import resolve

NOW = datetime(2026, 3, 2, 4, 5, 6, tzinfo=timezone.utc)
START = datetime(2026, 3, 1, 10, 0, tzinfo=timezone.utc)

Series = dict[str, Any]


@dataclass
class Cluster:
    """Recorded series by metric; `write` makes a recording of them. Change `series` to have something else in it."""

    nodes: Sequence[str] = ("node-a", "node-b:9102")
    pods: int = 3
    intervals: int = 40
    cpus: int = 2
    start: datetime = START
    job: str = "kepler-exporter"
    series: dict[str, list[Series]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.nodes:
            for interval in range(self.intervals):
                self._record(node, interval, self.moment(interval))

    def moment(self, interval: int) -> float:
        """The time of an interval's samples: at so many milliseconds that binary fractions matter."""
        return round(self.start.timestamp() + 3 * (interval + 1) + 0.001 * (interval % 7), 3)

    def add(self, metric: str, labels: dict[str, str], *samples: tuple[float, str]) -> Series:
        """Add one series."""
        one = {"metric": dict(sorted({"__name__": metric, "job": self.job, **labels}.items())), "values": list(samples)}
        self.series.setdefault(metric, []).append(one)
        return one

    def of(self, metric: str, node: str, **labels: str) -> list[Series]:
        """The series of a metric and a node, by time."""
        wanted = {"instance": node, **labels}
        found = [one for one in self.series[metric] if wanted.items() <= one["metric"].items()]
        return sorted(found, key=lambda one: one["values"][0][0])

    def write(self, path: Path, indent: int | None = None) -> Path:
        """Write a recording, series in the order of their labels, as Prometheus gives them."""
        for series in self.series.values():
            series.sort(key=lambda one: list(one["metric"].items()))
        text = json.dumps(self.series, separators=None if indent else (",", ":"), indent=indent).encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
        return path

    def _record(self, node: str, interval: int, moment: float) -> None:
        totals = dict.fromkeys(WORKLOAD_FEATURES, 0)
        for pod in range(self.pods):
            used = {feature: 100 * interval + 10 * pod + place for place, feature in enumerate(WORKLOAD_FEATURES)}
            totals = {feature: totals[feature] + used[feature] for feature in used}
            labels = {exporter_label(feature): str(value) for feature, value in used.items()}
            name = {"pod_name": f"pod-{pod}", "pod_namespace": "default", "command": f"c{interval}", "instance": node}
            self.add("pod_energy_stat", labels | name, (moment, str(500 + interval + pod)))
        labels = {f"node_curr_{feature.removeprefix('curr_')}": str(value) for feature, value in totals.items()}
        energies = {f"node_curr_energy_in_{part}_joule": f"{interval + 10.125}" for part in NODE_ENERGY_PARTS}
        self.add(
            "node_energy_stat", labels | energies | {"cpu_architecture": "Broadwell", "instance": node}, (moment, "0")
        )
        counters = {"core": "0", "dram": str(7000 + 70 * interval), "uncore": "0"}
        for package in ("0", "1"):
            value = str(90_000 + 150 * interval + int(package))
            self.add(
                "node_package_energy_millijoule", counters | {"pkg_id": package, "instance": node}, (moment, value)
            )
        for cpu in range(self.cpus):
            if interval == 0:
                self.add("node_cpu_scaling_frequency_hertz", {"cpu": str(cpu), "instance": node})
            one = self.of_cpu(node, str(cpu))
            one["values"].append((moment, str(2_000_000 + interval)))

    def of_cpu(self, node: str, cpu: str) -> Series:
        """The one series of a cpu's frequency."""
        wanted = {"instance": node, "cpu": cpu}
        return next(
            one for one in self.series["node_cpu_scaling_frequency_hertz"] if wanted.items() <= one["metric"].items()
        )


def recorded(*files: Path, **parameters: Any) -> Window:
    """The window of recordings."""
    return resolve.run(recordings=[str(file) for file in files], now=NOW, **parameters)


def asked(url: str, start: str, end: str, **parameters: Any) -> Window:
    """The window of one span of a Prometheus."""
    return resolve.run(prometheus_url=url, start=[start], end=[end], now=NOW, **parameters)


def rows_of(out: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of an extracted window, by table; nodes one after the other, each in the order written."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for shard in shards_of(out):
        for file in sorted(shard.iterdir()):
            rows.setdefault(file.stem, []).extend(pq.read_table(file).to_pylist())
    return rows


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
