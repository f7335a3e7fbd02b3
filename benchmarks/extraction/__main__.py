"""Measure, print a table, and write JSON=PATH."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from benchmarks.extraction.servers import load_blocks, series_of, without_frequency, write_live
from tests.prometheus_server import PrometheusServer

from kepler_train.contract.tables import SCHEMAS
from kepler_train.contract.window import SHARDS, shards_of
from kepler_train.extract import resolve, step
from kepler_train.simulate import step as simulate
from kepler_train.simulate.spec import SimulationSpec

START = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
STREAMS = 2
MEGABYTE = 1 << 20

TARGETS = {
    "speed_to_library": "≥ 5",
    "client_cpu_to_server_cpu": "≤ 0.25",
    "server_cpu_to_cheapest_plan": "≤ 1.1",
    "server_cpu_to_cheapest_plan_blocks": "≤ 1.1",
    "server_cpu_to_cheapest_plan_blocks_4x": "≤ 1.1",
    "memory_4x_to_1x": "≤ 1.1",
    "megabytes_per_stream": "≤ 65",
    "samples_extracted_of_stored": "1",
    "differing_tables": "0",
}

Figures = dict[str, Any]
Span = tuple[datetime, datetime]


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extraction", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--pods", type=int, default=50, help="on each node")
    parser.add_argument("--minutes", type=int, default=120, help="of which the first quarter is the window of 1 ×")
    parser.add_argument("--repeats", type=int, default=3, help="of which the least CPU time counts")
    options = parser.parse_args()
    spec = SimulationSpec(
        nodes=options.nodes, pods_per_node=options.pods, start=START, duration_seconds=60.0 * options.minutes
    )
    with tempfile.TemporaryDirectory(prefix="kepler-train-benchmark-") as folder:
        figures = measure(spec, Path(folder), options.repeats)
    show(figures)
    if path := os.environ.get("JSON"):
        Path(path).write_text(json.dumps(figures, indent=1) + "\n")


def measure(spec: SimulationSpec, folder: Path, repeats: int) -> Figures:
    """Load the servers, let each way do its work some times in turn, and look whether its rows are right."""
    whole = START, START + timedelta(seconds=spec.duration_seconds)
    quarter = START, START + timedelta(seconds=spec.duration_seconds / 4)
    say(f"simulating {spec.nodes} nodes × {spec.pods_per_node} pods over {spec.duration_seconds / 60:.0f} min")
    recordings = simulate.run(spec, folder / "recordings")
    for recording in recordings:
        without_frequency(recording)
    blocks, live = PrometheusServer(folder / "blocks"), PrometheusServer(folder / "live")
    say("loading all into a server as blocks, without staleness markers")
    load_blocks(blocks, recordings, folder / "samples.txt")
    with blocks, live:
        say("writing the first quarter into another, with staleness markers")
        write_live(live, recordings, quarter[1])
        work = {
            "library": (live, "library", quarter),
            "extract": (live, "extract", quarter),
            "fetch": (live, "fetch", quarter),
            "extract_blocks": (blocks, "extract", quarter),
            "fetch_blocks": (blocks, "fetch", quarter),
            "extract_blocks_4x": (blocks, "extract", whole),
            "fetch_blocks_4x": (blocks, "fetch", whole),
        }
        costs: dict[str, list[Figures]] = {name: [] for name in work}
        for repeat in range(repeats):
            for name, (server, way, span) in work.items():
                say(f"measuring {name}, {repeat + 1} of {repeats}")
                costs[name].append(cost_of(way, server, span, folder / f"{name}-{repeat}"))
    say("comparing rows")
    wrong = {
        name: differing_tables(recordings, span, folder / f"{name}-0", folder / f"{name}-recorded")
        for name, (_, way, span) in work.items()
        if way == "extract"
    }
    least = {name: {key: min(cost[key] for cost in taken) for key in taken[0]} for name, taken in costs.items()}
    stored = sum(len(samples) for _, samples in series_of(recordings, quarter[1]))
    reached = ratios(least) | {"rows_library_of_stored": least["library"]["got"] / stored}
    reached |= {
        "samples_extracted_of_stored": least["extract"]["got"] / stored,
        "differing_tables": sum(wrong.values()),
    }
    return {"nodes": spec.nodes, "pods": spec.pods_per_node, "stored": stored, "ways": least, "reached": reached}


def ratios(ways: dict[str, Figures]) -> Figures:
    """What the targets speak of."""
    extract, blocks, longer = ways["extract"], ways["extract_blocks"], ways["extract_blocks_4x"]
    speed, peer = (ways[way]["got"] / ways[way]["cpu_seconds"] for way in ("extract", "library"))
    return {
        "samples_per_client_cpu_second": speed,
        "samples_per_client_cpu_second_library": peer,
        "speed_to_library": speed / peer,
        "speed_to_library_4x": longer["got"] / longer["cpu_seconds"] / peer,
        "client_cpu_to_server_cpu": extract["cpu_seconds"] / extract["server_cpu_seconds"],
        "client_cpu_to_server_cpu_blocks_4x": longer["cpu_seconds"] / longer["server_cpu_seconds"],
        "server_cpu_to_cheapest_plan": _server_ratio(ways, "extract", "fetch"),
        "server_cpu_to_cheapest_plan_blocks": _server_ratio(ways, "extract_blocks", "fetch_blocks"),
        "server_cpu_to_cheapest_plan_blocks_4x": _server_ratio(ways, "extract_blocks_4x", "fetch_blocks_4x"),
        "memory_4x_to_1x": longer["peak_bytes"] / blocks["peak_bytes"],
        "megabytes_per_stream": (longer["peak_bytes"] - longer["interpreter_bytes"]) / STREAMS / MEGABYTE,
    }


def _server_ratio(ways: dict[str, Figures], way: str, cheapest: str) -> float:
    ratio: float = ways[way]["server_cpu_seconds"] / ways[cheapest]["server_cpu_seconds"]
    return ratio


def cost_of(way: str, server: PrometheusServer, span: Span, folder: Path) -> Figures:
    """Let a process do its work, and take what it and the server used."""
    before = server.cpu_seconds()
    arguments = [way, server.url, *(str(moment.timestamp()) for moment in span), str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.extraction.ways", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    cost: Figures = json.loads(done.stdout)
    return cost | {"server_cpu_seconds": server.cpu_seconds() - before, "server_peak_bytes": server.peak_bytes()}


def differing_tables(recordings: Sequence[Path], span: Span, extracted: Path, reference: Path) -> int:
    """Count the tables of shards that are not, value for value, what the recordings hold of the span."""
    clock = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in span]
    files = [str(file) for file in recordings]
    step.run(resolve.run(recordings=files, start=clock[:1], end=clock[1:], now=span[1]), reference)
    names = {shard.name for folder in (extracted, reference) for shard in shards_of(folder)}
    return sum(
        not plain(extracted / SHARDS / name / f"{table}.parquet").equals(
            plain(reference / SHARDS / name / f"{table}.parquet")
        )
        for name in names
        for table in SCHEMAS
    )


def plain(file: Path) -> pa.Table:
    """A table without dictionaries, and without duplicates set apart: of those that are alike Prometheus stores one."""
    table = pq.read_table(file)
    types = [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in table.schema]
    table = table.cast(pa.schema([field.with_type(kind) for field, kind in zip(table.schema, types, strict=True)]))
    return table.filter(pc.field("reason") != "duplicate") if "reason" in table.column_names else table


def show(figures: Figures) -> None:
    """Print the tables."""
    ways = figures["ways"]
    print(f"{ways['extract']['got']:,} samples, {ways['extract_blocks_4x']['got']:,} in the window of 4 ×\n")
    print(f"{'way, least of the repeats':<28}{'client CPU s':>14}{'server CPU s':>14}{'wall s':>10}{'peak MB':>10}")
    for name, cost in ways.items():
        seconds = f"{cost['cpu_seconds']:>14.2f}{cost['server_cpu_seconds']:>14.2f}{cost['wall_seconds']:>10.2f}"
        print(f"{name:<28}{seconds}{cost['peak_bytes'] / MEGABYTE:>10.0f}")
    print()
    for name, figure in figures["reached"].items():
        print(f"{name.replace('_', ' '):<44}{figure:>14,.3f}   {TARGETS.get(name, '')}")


def say(what: str) -> None:
    """Tell how far it is."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
