"""Writes recordings: what Prometheus would answer about a simulated node, and beside them the truth it cannot know."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from kepler_train.contract.window import INTERVAL_SECONDS, shard_name
from kepler_train.simulate.cluster import Node, Stretch
from kepler_train.simulate.series import (
    FREQUENCY_METRIC,
    NODE_METRIC,
    PACKAGE_METRIC,
    POD_METRIC,
    Labels,
    NodeExporter,
)
from kepler_train.simulate.tables import truth_table

POD_SAMPLES_PER_FILE = 50_000
TRUTH_FOLDER = "truth"


def write_node(node: Node, out: Path, samples_per_file: int = POD_SAMPLES_PER_FILE) -> Iterator[Path]:
    """Write one node's part of a window, file by file; yields each recording once it and its truth are written."""
    spec = node.spec
    exporter = NodeExporter(node, spec.intervals)
    step = max(1, samples_per_file // spec.pods_per_node)
    end = spec.first_interval + spec.intervals
    for first in range(spec.first_interval, end, step):
        stretch = node.stretch(first, min(step, end - first))
        name = shard_name(node.name, datetime.fromtimestamp(first * INTERVAL_SECONDS, tz=timezone.utc))
        pq.write_table(truth_table(stretch), out / TRUTH_FOLDER / f"{name}.parquet")
        recording, part = out / f"{name}.json.gz", out / f"{name}.part"
        try:
            with part.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
                _write(file, exporter, stretch)
            part.replace(recording)  # half a recording would stop whoever reads the folder later
        finally:
            part.unlink(missing_ok=True)
        yield recording


def _write(file: gzip.GzipFile, exporter: NodeExporter, stretch: Stretch) -> None:
    """Write one JSON object: metric → series; pods' series as they come, the fewer others at the end."""
    others: dict[str, list[Any]] = {NODE_METRIC: [], PACKAGE_METRIC: []}
    frequencies: dict[str, Any] = {}
    file.write(f'{{"{POD_METRIC}":['.encode())
    separator = b""
    for scrape in exporter.scrapes(stretch):
        time = round(scrape.index * INTERVAL_SECONDS)
        series = [_series(POD_METRIC, stretch.node, sample, time) for sample in scrape.pods + scrape.duplicates]
        if series:
            file.write(separator + msgspec.json.encode(series)[1:-1])
            separator = b","
        others[NODE_METRIC].append(_series(NODE_METRIC, stretch.node, scrape.node, time))
        others[PACKAGE_METRIC] += [_series(PACKAGE_METRIC, stretch.node, sample, time) for sample in scrape.packages]
        for labels, value in scrape.frequencies:
            known = frequencies.setdefault(
                labels["cpu"], _series(FREQUENCY_METRIC, stretch.node, (labels, value), time)
            )
            if known["values"][-1][0] != time:
                known["values"].append([time, value])
    others[FREQUENCY_METRIC] = list(frequencies.values())
    file.write(b"]," + msgspec.json.encode(others)[1:])


def _series(metric: str, node: str, sample: tuple[Labels, str], time: int) -> dict[str, Any]:
    """One series with one value, with the labels that Prometheus adds to those of the exporter."""
    labels, value = sample
    labels = {"__name__": metric, **target_labels(node), **labels}
    if metric in (PACKAGE_METRIC, FREQUENCY_METRIC):
        # The exporter's own `instance` gives way to the target's.
        labels["exported_instance"] = labels["instance"]
    return {"metric": labels, "values": [[time, value]]}


def target_labels(node: str) -> Labels:
    """Labels of the scraped target: they name the exporter's pod, not what it measured."""
    return {
        "container": "kepler-exporter",
        "endpoint": "http",
        "instance": node,
        "job": "kepler-exporter",
        "namespace": "monitoring",
        "pod": f"kepler-exporter-{node}",
        "service": "kepler-exporter",
    }
