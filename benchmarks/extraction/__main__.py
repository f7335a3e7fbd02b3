"""Measure what extraction costs: `python -m benchmarks.extraction [--quick] [--json PATH]`."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import requests
from benchmarks import command
from benchmarks.extraction.servers import load_blocks, series_of, without_frequency, write_live
from benchmarks.figures import Report
from tests.prometheus_server import PrometheusServer

from kepler_train.contract.tables import PACKAGE, POD_STAT, SCHEMAS
from kepler_train.contract.window import SHARDS, SUMMARY_FILE, WindowSummary, shards_of
from kepler_train.extract import resolve, step
from kepler_train.simulate import step as simulate
from kepler_train.simulate.spec import SimulationSpec

log = logging.getLogger("benchmarks.extraction")

START = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
STREAMS = 2
MEGABYTE = 1 << 20

SPEED_TO_LIBRARY = 5.0
CLIENT_TO_SERVER = 0.25
SERVER_TO_CHEAPEST = 1.1
MEMORY_GROWTH, MEGABYTES_PER_STREAM = 1.1, 65.0
"""What is to be reached; read by nothing that is measured."""

ROWS = "extraction, rows"

RESTARTS = ("gap", "counter_reset")
"""What a package counter is set apart for after an exporter, or its node, came back."""

Cost = dict[str, float]
Span = tuple[datetime, datetime]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for."""
    return command.run("benchmarks.extraction", __doc__ or "", (measure,), arguments)


def measure(quick: bool, report: Report) -> None:
    """Simulate a cluster and measure on it.

    The window of 1 × is a quarter; in full it is as long as a shard, so that requests are of one size in both.
    """
    nodes, pods, hours, repeats = (2, 5, 1.0, 1) if quick else (2, 50, 8.0, 2)
    spec = SimulationSpec(nodes=nodes, pods_per_node=pods, start=START, duration_seconds=3600 * hours)
    with tempfile.TemporaryDirectory(prefix="kepler-train-benchmark-") as folder:
        compare(spec, Path(folder), repeats, report)


def compare(spec: SimulationSpec, folder: Path, repeats: int, report: Report) -> None:
    """Load the servers, let each way do its work some times in turn, and look whether its rows are right."""
    whole = START, START + timedelta(seconds=spec.duration_seconds)
    quarter = START, START + timedelta(seconds=spec.duration_seconds / 4)
    log.info("simulating %d nodes × %d pods over %g h", spec.nodes, spec.pods_per_node, spec.duration_seconds / 3600)
    recordings = simulate.run(spec, folder / "recordings")
    for recording in recordings:
        without_frequency(recording)
    blocks, live = PrometheusServer(folder / "blocks"), PrometheusServer(folder / "live")
    log.info("loading all into a server as blocks, without staleness markers")
    load_blocks(blocks, recordings, folder / "samples.txt")
    with blocks, live:
        log.info("writing the first quarter into another, with staleness markers")
        write_live(live, recordings, quarter[1])
        work = {
            "library": (live, "library", quarter),
            "extract": (live, "extract", quarter),
            "fetch": (live, "fetch", quarter),
            "extract, blocks": (blocks, "extract", quarter),
            "fetch, blocks": (blocks, "fetch", quarter),
            "extract, blocks, 4 ×": (blocks, "extract", whole),
            "fetch, blocks, 4 ×": (blocks, "fetch", whole),
        }
        costs: dict[str, list[Cost]] = {name: [] for name in work}
        for repeat in range(repeats):
            # Forward and back, so that none always comes after the same other.
            for name, (server, way, span) in list(work.items())[:: -1 if repeat % 2 else 1]:
                log.info("measuring %s, %d of %d", name, repeat + 1, repeats)
                costs[name].append(cost_of(way, server, span, folder / f"{name}-{repeat}"))
    least = {name: {key: min(cost[key] for cost in taken) for key in taken[0]} for name, taken in costs.items()}
    show_costs(least, repeats, report)
    show_ratios(least, report)
    log.info("comparing rows")
    for name, (_, way, span) in work.items():
        if way == "extract":
            show_rows(name, recordings, span, folder, report)
    rows = least["library"]["got"] / stored_samples(recordings, quarter)
    report.add(ROWS, "library", "rows to stored", rows, unit="times")


def show_costs(ways: dict[str, Cost], repeats: int, report: Report) -> None:
    """Say what each way took."""
    table = f"extraction, least of {repeats} times"
    for name, cost in ways.items():
        report.add(table, name, "client CPU s", cost["cpu_seconds"], unit="s")
        report.add(table, name, "server CPU s", cost["server_cpu_seconds"], unit="s")
        report.add(table, name, "wall s", cost["wall_seconds"], unit="s")
        report.add(table, name, "peak MB", cost["peak_bytes"] / MEGABYTE, unit="MB")


def show_ratios(ways: dict[str, Cost], report: Report) -> None:
    """Say how ways compare; fetching asks by the cheapest plan known, and throws the answers away."""
    extract, blocks, longer = ways["extract"], ways["extract, blocks"], ways["extract, blocks, 4 ×"]
    speed, peer = (ways[way]["got"] / ways[way]["cpu_seconds"] for way in ("extract", "library"))
    table = "extraction, ratios"
    report.add(table, "samples per client CPU s", "figure", speed, unit="1/s")
    report.add(table, "… of the library", "figure", peer, unit="1/s")
    report.add(table, "… to the library", "figure", speed / peer, unit="times", at_least=SPEED_TO_LIBRARY)
    for name in ("extract", "extract, blocks", "extract, blocks, 4 ×"):
        cost, cheapest = ways[name], ways[name.replace("extract", "fetch")]
        own = cost["cpu_seconds"] / cost["server_cpu_seconds"]
        report.add(table, f"client to server CPU: {name}", "figure", own, unit="times", at_most=CLIENT_TO_SERVER)
        server = cost["server_cpu_seconds"] / cheapest["server_cpu_seconds"]
        row = f"server CPU to the cheapest plan's: {name}"
        report.add(table, row, "figure", server, unit="times", at_most=SERVER_TO_CHEAPEST)
    memory = longer["peak_bytes"] / blocks["peak_bytes"]
    report.add(table, "peak memory, 4 × to 1 ×", "figure", memory, unit="times", at_most=MEMORY_GROWTH)
    stream = max(cost["peak_bytes"] - cost["interpreter_bytes"] for cost in (extract, longer)) / STREAMS / MEGABYTE
    row = "peak memory beyond the interpreter's, MB a stream"
    report.add(table, row, "figure", stream, unit="MB", at_most=MEGABYTES_PER_STREAM)


def show_rows(name: str, recordings: Sequence[Path], span: Span, folder: Path, report: Report) -> None:
    """Say whether what was extracted is what was stored: counts, and every table value for value."""
    extracted = folder / f"{name}-0"
    summary = WindowSummary.read(extracted / SUMMARY_FILE)
    stored = stored_samples(recordings, span)
    got = sum(summary.rows.values()) + sum(sum(counts.values()) for counts in summary.set_apart.values())
    report.add(ROWS, name, "samples stored", stored, unit="samples")
    report.add(ROWS, name, "extracted, missing or twice", got - stored, unit="samples", at_most=0)
    differing = differing_tables(recordings, span, extracted, folder / f"{name}-recorded")
    report.add(ROWS, name, "tables that differ", differing, unit="tables", at_most=0)
    restarts = sum(summary.set_apart.get(PACKAGE, {}).get(reason, 0) for reason in RESTARTS)
    report.add(ROWS, name, "pod rows", summary.rows[POD_STAT], unit="rows")
    report.add(ROWS, name, "counters set apart after restarts", restarts, unit="samples")


def stored_samples(recordings: Sequence[Path], span: Span) -> int:
    """How many samples of a span a server holds."""
    return sum(len(samples) for _, samples in series_of(recordings, span[1]))


def cost_of(way: str, server: PrometheusServer, span: Span, folder: Path) -> Cost:
    """Let a process do its work, and take what it and the server used."""
    # What the way before left behind in the server is not this one's to clear away.
    requests.get(f"{server.url}/debug/pprof/heap", params={"gc": 1}, timeout=600).raise_for_status()
    before = server.cpu_seconds()
    arguments = [way, server.url, *(str(moment.timestamp()) for moment in span), str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.extraction.ways", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    cost: Cost = json.loads(done.stdout)
    return cost | {"server_cpu_seconds": server.cpu_seconds() - before}


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


if __name__ == "__main__":
    sys.exit(main())
