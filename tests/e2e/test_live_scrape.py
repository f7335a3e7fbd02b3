"""A real Prometheus scrapes the live simulator; the whole workflow runs on what it stored.

Which minutes are held out is up to the clock, and it may be half an hour until one is. So the exporters' time runs
faster here, and stands in their pages. At the clock's pace, the scrapes of tests/unit/extract are.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.held_out import BLOCK_SECONDS, is_held_out
from kepler_train.contract.tables import POD_STAT
from kepler_train.contract.window import INTERVAL_SECONDS, SUMMARY_FILE, WindowSummary
from kepler_train.simulate.cluster import Cluster
from kepler_train.simulate.exporter import LiveNode, scrape_configuration
from kepler_train.simulate.spec import SimulationSpec
from tests.e2e.command import kepler_train
from tests.prometheus_server import PrometheusServer

NODES, PODS_PER_NODE = 2, 8
TIMES_FASTER = 15
OLDEST_SECONDS = 55 * 60
"""A Prometheus takes samples that are no more than an hour older than its newest."""


def window_with_both_parts(start: int) -> tuple[int, int]:
    """The first two blocks from `start` on of which one is held out."""
    for block in itertools.count(-(-start // BLOCK_SECONDS) * BLOCK_SECONDS, BLOCK_SECONDS):
        if is_held_out(block) != is_held_out(block + BLOCK_SECONDS):
            return block, block + 2 * BLOCK_SECONDS
    raise AssertionError


class Clock:
    """A clock that stands until it is first asked for a page, and then runs faster than others."""

    def __init__(self, start: float) -> None:
        self._start = start
        self._began: float | None = None

    def run(self) -> None:
        """Start it, if it stands."""
        self._began = self._began or time.monotonic()

    def __call__(self) -> float:
        """Tell the time, in Unix seconds."""
        return self._start + (TIMES_FASTER * (time.monotonic() - self._began) if self._began else 0)


@contextmanager
def exporters(spec: SimulationSpec, clock: Clock) -> Iterator[tuple[str, ...]]:
    """Serve each node's page, with its time on every line."""
    with ExitStack() as stack:
        addresses = []
        for node in Cluster(spec).nodes:

            class Handler(BaseHTTPRequestHandler):
                live = LiveNode(node, clock)

                def do_GET(self) -> None:
                    clock.run()
                    moment = int(clock() // INTERVAL_SECONDS * INTERVAL_SECONDS * 1000)
                    page = self.live.page() or ""
                    lines = [line if line.startswith("#") else f"{line} {moment}" for line in page.splitlines()]
                    self.send_response(200)
                    self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                    self.end_headers()
                    self.wfile.write(("\n".join(lines) + "\n").encode())

                def log_message(self, *_: object) -> None:
                    pass

            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            stack.callback(server.shutdown)
            addresses.append(f"http://127.0.0.1:{server.server_port}/metrics")
        yield tuple(addresses)


@pytest.mark.e2e
def test_the_workflow_runs_on_a_live_scrape(tmp_path):
    spec = SimulationSpec(seed=5, nodes=NODES, pods_per_node=PODS_PER_NODE, faults=False)
    start, end = window_with_both_parts(int(time.time()) - OLDEST_SECONDS)
    clock = Clock(start - INTERVAL_SECONDS)
    with exporters(spec, clock) as addresses:
        configuration = scrape_configuration(addresses)
        jobs = configuration[configuration.index("  - job_name") :].replace(
            "job_name: kepler-exporter",
            f"job_name: kepler-exporter\n    scrape_interval: {1000 * INTERVAL_SECONDS / TIMES_FASTER:.0f}ms",
        )
        with PrometheusServer(tmp_path / "data", scrape_configs=jobs) as prometheus:
            while clock() < end + 2 * INTERVAL_SECONDS:
                time.sleep(0.1)
            span = [datetime.fromtimestamp(moment, timezone.utc).isoformat() for moment in (start, end)]
            words = ["run", "--source", "prometheus", prometheus.url, "--start", span[0], "--end", span[1]]
            done = kepler_train(*words, folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert {name.split("/")[0] for name in done.decisions()} == {group.value for group in FeatureGroup}
    assert not any(decision["failed"] for decision in done.decisions().values())
    summary = WindowSummary.read(next(tmp_path.rglob(SUMMARY_FILE)))
    assert len(summary.nodes) == NODES
    assert summary.missing_metrics == ()
    scrapes = (end - start) / INTERVAL_SECONDS
    assert summary.rows[POD_STAT] == pytest.approx(scrapes * NODES * PODS_PER_NODE, rel=0.25)
