from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from kepler_train.contract.tables import NODE_STAT, PACKAGE, POD_STAT, SET_APART
from kepler_train.extract import resolve, step
from tests.prometheus_server import PrometheusServer
from tests.unit.extract.cluster import Cluster, rows_of

INTERVAL_SECONDS = 0.5
SCRAPE = """
  - job_name: kepler-exporter
    scrape_interval: 500ms
    scrape_timeout: 500ms
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


class Exporter(ThreadingHTTPServer):
    """Serves one interval after the other; counters start again when the exporter does."""

    allow_reuse_address = True

    def __init__(self, port: int, first: int) -> None:
        super().__init__(("127.0.0.1", port), Page)
        self.first = first
        self.served: list[int] = []
        cluster = Cluster(nodes=("here",), intervals=60)
        self.pages = [
            "".join(lines) for lines in zip(*(self._lines(metric, cluster) for metric in METRICS), strict=True)
        ]

    def _lines(self, metric: str, cluster: Cluster) -> Iterator[str]:
        """The metric's lines of one interval after the other."""
        per_interval: dict[float, list[str]] = {}
        for one in cluster.series[metric]:
            own = {key: value for key, value in one["metric"].items() if key not in ("__name__", "job", "instance")}
            labels = ",".join(f'{name}="{value}"' for name, value in own.items())
            for moment, value in one["values"]:
                per_interval.setdefault(moment, []).append(f"{metric}{{{labels}}} {value}\n")
        yield from ("".join(lines) for _, lines in sorted(per_interval.items()))


METRICS = ("pod_energy_stat", "node_energy_stat", "node_package_energy_millijoule")


class Page(BaseHTTPRequestHandler):
    server: Exporter

    def do_GET(self) -> None:
        interval = len(self.server.served)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(self.server.pages[interval].encode())
        self.server.served.append(interval + self.server.first)

    def log_message(self, *what: object) -> None:
        """Be quiet."""


@contextmanager
def exporting(port: int, first: int) -> Iterator[Exporter]:
    exporter = Exporter(port, first)
    thread = threading.Thread(target=exporter.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield exporter
    finally:
        exporter.shutdown()
        exporter.server_close()
        thread.join()


def wait_for(exporter: Exporter, scrapes: int) -> None:
    end = time.monotonic() + 30
    while len(exporter.served) < scrapes and time.monotonic() < end:
        time.sleep(0.02)
    assert len(exporter.served) >= scrapes


@pytest.mark.prometheus
@pytest.mark.usefixtures("clean_environment")
def test_a_live_scrape_of_an_exporter_that_dies_and_comes_back_loses_and_doubles_nothing(tmp_path: Path) -> None:
    began = datetime.now(timezone.utc)
    with exporting(0, 0) as first:
        port = first.server_port
        server = PrometheusServer(tmp_path / "data", scrape_configs=SCRAPE.format(port=port)).start()
        wait_for(first, 6)
    try:
        time.sleep(3 * INTERVAL_SECONDS)
        with exporting(port, 100) as second:
            wait_for(second, 6)
        time.sleep(2 * INTERVAL_SECONDS)
        span = {"start": [clock(began)], "end": [clock(began + timedelta(hours=1))]}
        window = resolve.run(prometheus_url=server.url, now=began, **span)
        step.run(msgspec.structs.replace(window, interval_seconds=INTERVAL_SECONDS), tmp_path / "out")
    finally:
        server.stop()
    rows = rows_of(tmp_path / "out")
    assert {row["node"] for row in rows[POD_STAT]} == {f"127.0.0.1:{port}"}
    scrapes = len(first.served) + len(second.served)
    energies = Counter((row["node_curr_energy_in_pkg_joule"] - 10.125) for row in rows[NODE_STAT])
    assert energies == Counter([*range(len(first.served)), *range(len(second.served))])
    assert len(rows[POD_STAT]) == 3 * scrapes
    assert len({(row["timestamp"], row["pod_name"]) for row in rows[POD_STAT]}) == 3 * scrapes
    # Each exporter's first counters have no predecessor one interval before them.
    apart = [row for row in rows[SET_APART] if row["table"] == PACKAGE]
    assert len(rows[PACKAGE]) + len(apart) == 2 * scrapes
    assert {row["reason"] for row in apart} >= {"first_sample", "gap"}
    assert all(row["package_energy_millijoules"] == 150 for row in rows[PACKAGE])


def clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
