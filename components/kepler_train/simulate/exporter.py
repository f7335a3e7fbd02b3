"""The simulated cluster live: one `/metrics` endpoint per node, for a real Prometheus to scrape."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.window import INTERVAL_SECONDS
from kepler_train.simulate.cluster import Cluster, Node
from kepler_train.simulate.recording import target_labels
from kepler_train.simulate.series import (
    FREQUENCY_METRIC,
    NODE_METRIC,
    PACKAGE_METRIC,
    POD_METRIC,
    Labels,
    NodeExporter,
    Scrape,
)
from kepler_train.simulate.spec import SimulationSpec

_log = logging.getLogger("kepler_train")
_INTERVALS_AT_ONCE = 200
_EXPECTED_INTERVALS = 1200
"""Counters that wrap do so within about an hour."""

_METRICS = {
    POD_METRIC: ("gauge", "Energy attributed to a pod in the current interval, mJ; usage of the interval as labels"),
    NODE_METRIC: ("gauge", "Sensor energy of the node in the current interval, J; usage of the interval as labels"),
    FREQUENCY_METRIC: ("gauge", "Scaling frequency of a CPU"),
    PACKAGE_METRIC: ("counter", "Energy of a package since it was started, mJ"),
}


class LiveNode:
    """One node as its exporter shows it at any moment from its construction on."""

    def __init__(self, node: Node, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._stream = self._scrapes(node, self._now())
        self._shown = self._next = next(self._stream)

    def page(self) -> str | None:
        """The exporter's page for the last whole interval; None while the exporter is away."""
        with self._lock:
            now = self._now()
            while self._next.index <= now:
                self._shown, self._next = self._next, next(self._stream)
            return exposition(self._shown) if self._shown.index == now else None

    def _now(self) -> int:
        return int(self._clock() // INTERVAL_SECONDS)

    @staticmethod
    def _scrapes(node: Node, first: int) -> Iterator[Scrape]:
        exporter = NodeExporter(node, _EXPECTED_INTERVALS)
        while True:
            yield from exporter.scrapes(node.stretch(first, _INTERVALS_AT_ONCE))
            first += _INTERVALS_AT_ONCE


def exposition(scrape: Scrape) -> str:
    """Write one interval in Prometheus' text format; label sets of earlier intervals are gone."""
    samples = {
        POD_METRIC: scrape.pods,
        NODE_METRIC: [scrape.node],
        FREQUENCY_METRIC: scrape.frequencies,
        PACKAGE_METRIC: scrape.packages,
    }
    lines = []
    for metric, (kind, about) in _METRICS.items():
        lines += [f"# HELP {metric} {about}", f"# TYPE {metric} {kind}"]
        lines += [f"{metric}{{{_labels(labels)}}} {value}" for labels, value in samples[metric]]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    escaped = (
        (name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels.items()
    )
    return ",".join(f'{name}="{value}"' for name, value in escaped)


def serve(spec: SimulationSpec, port: int, host: str = "127.0.0.1") -> None:
    """Serve every node of the cluster, as it is right now, until interrupted: node *i* (from 0) on `port` + i.

    The time is the clock's: `start` and `duration_seconds` are not used, and the truth of any moment can be asked of
    the same cluster afterwards.
    """
    with serving(spec, port, host) as addresses:
        for address in addresses:
            _log.info("serving %s", address)
        threading.Event().wait()


@contextmanager
def serving(spec: SimulationSpec, port: int, host: str = "127.0.0.1") -> Iterator[tuple[str, ...]]:
    """Serve as `serve` does, in threads; yields each node's address. Port 0 takes free ports.

    Raises WrongUsage where a port is none, or is taken.
    """
    with ExitStack() as stack:
        addresses = []
        for number, node in enumerate(Cluster(spec).nodes):
            address, handler = (host, port and port + number), _handler(LiveNode(node))
            try:
                server = stack.enter_context(ThreadingHTTPServer(address, handler))
            except (OSError, OverflowError) as cause:
                raise WrongUsage(
                    f"{node.name} cannot be served on port {address[1]}: {cause}; choose a port from 1024 up to "
                    f"{65_536 - spec.nodes}, from which {spec.nodes} in a row are free"
                ) from cause
            threading.Thread(target=server.serve_forever, name=node.name, daemon=True).start()
            stack.callback(server.shutdown)
            addresses.append(f"http://{host}:{server.server_port}/metrics")
        yield tuple(addresses)


def scrape_configuration(addresses: tuple[str, ...]) -> str:
    """Write the `prometheus.yml` that scrapes these addresses as if a cluster's discovery had found them."""
    lines = [
        "global:",
        "  scrape_interval: 3s",
        "scrape_configs:",
        "  - job_name: kepler-exporter",
        "    static_configs:",
    ]
    for number, address in enumerate(addresses, start=1):
        labels = target_labels(f"node{number}")
        lines += [f"      - targets: ['{address.split('/')[2]}']", "        labels:"]
        lines += [f"          {name}: {value}" for name, value in labels.items() if name != "job"]
    return "\n".join(lines) + "\n"


def _handler(node: LiveNode) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND, "the exporter's page is /metrics")
                return
            page = node.page()
            if page is None:
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "the exporter is restarting")
                return
            body = page.encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            _log.debug(format, *args)

    return Handler
