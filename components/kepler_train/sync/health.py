"""The endpoint of a sync: /healthz (alive), /readyz (a whole set of models is in use), /metrics."""

from __future__ import annotations

import socket
import threading
from http.server import ThreadingHTTPServer
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler

from kepler_train.contract.errors import WrongUsage
from kepler_train.sync.loop import Status


def listen(address: str, status: Status) -> int:
    """Answer at `[HOST]:PORT` from a thread of its own, as long as the process lives; returns the port.

    Raises WrongUsage where the address is none, or is taken.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise WrongUsage(f"cannot listen on {address!r}; write HOST:PORT, or :PORT for every address")
    registry = CollectorRegistry()
    registry.register(status)
    handler = type("Handler", (_Handler,), {"registry": registry, "status": status})
    try:
        server = _Server(host.strip("[]"), int(port), handler)
    except (OSError, OverflowError) as cause:
        raise WrongUsage(f"cannot listen on {address}: {cause}; name another port") from cause
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


class _Server(ThreadingHTTPServer):
    def __init__(self, host: str, port: int, handler: type[MetricsHandler]) -> None:
        both = not host and socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
        super().__init__((host, port), handler)


class _Handler(MetricsHandler):
    status: Status
    timeout = 10

    def do_GET(self) -> None:  # noqa: N802 (the name of the base class)
        path = urlsplit(self.path).path
        current = self.status.current
        if path == "/metrics":
            super().do_GET()
        elif path == "/healthz":
            self._answer(200, "alive")
        elif path == "/readyz" and current is not None:
            self._answer(200, f"set {current.version} is in use")
        elif path == "/readyz":
            self._answer(503, f"no whole set of models yet: {self.status.problem}")
        else:
            self._answer(404, "there are /healthz, /readyz and /metrics")

    def _answer(self, code: int, text: str) -> None:
        content = f"{text}\n".encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
