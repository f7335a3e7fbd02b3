"""Stands between extraction and a real Prometheus, and spoils chosen answers as networks and servers do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import requests

Respond = Callable[["Exchange"], None]
"""Answers a request in some way; `Exchange.pass_on` is the right one."""


class Exchange(BaseHTTPRequestHandler):
    """One request: passed on, or answered by the next fault."""

    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query).get("query", [""])[0]
        self.server.seen.append((parts.path, query, dict(self.headers)))
        respond = self.server.choose(parts.path, query)
        respond(self)

    def upstream(self) -> requests.Response:
        """The right answer."""
        return requests.get(self.server.upstream + self.path, headers={"Accept-Encoding": "identity"}, timeout=60)

    def pass_on(self) -> None:
        """Give the right answer."""
        answer = self.upstream()
        self.send(answer.status_code, answer.content)

    def send(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, claimed: int | None = None
    ) -> None:
        """Answer; `claimed` is the length that the header tells."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if claimed is None else claimed))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *what: object) -> None:
        """Be quiet."""


class FaultProxy(ThreadingHTTPServer):
    """Applies faults in turn to requests for samples (to all requests where `everything`), then passes on."""

    daemon_threads = True

    def __init__(self, upstream: str, faults: list[Respond], *, metric: str = "", everything: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.upstream = upstream
        self.faults = faults
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._metric, self._everything = metric, everything
        self._lock = threading.Lock()

    def choose(self, path: str, query: str) -> Respond:
        """The next fault for such a request, or none."""
        if self._everything or (path == "/api/v1/query" and query.startswith(self._metric)):
            with self._lock:
                return self.faults.pop(0) if self.faults else Exchange.pass_on
        return Exchange.pass_on

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away in a fault is meant."""


@contextmanager
def proxy(upstream: str, *faults: Respond, metric: str = "", everything: bool = False) -> Iterator[FaultProxy]:
    server = FaultProxy(upstream, list(faults), metric=metric, everything=everything)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def status(code: int, content: bytes = b"", **headers: str) -> Respond:
    """Answer with a status."""
    return lambda exchange: exchange.send(
        code, content, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def error(code: int, kind: str, said: str) -> Respond:
    """Answer as Prometheus refuses."""
    return status(code, f'{{"status":"error","errorType":"{kind}","error":"{said}"}}'.encode())


def cut(share: float) -> Respond:
    """Give the first part of the right answer, and hang up."""

    def respond(exchange: Exchange) -> None:
        content = exchange.upstream().content
        exchange.send(200, content[: int(len(content) * share)], claimed=len(content))
        exchange.close_connection = True

    return respond


def cut_cleanly(share: float) -> Respond:
    """Give the first part of the right answer as if it were all of it."""

    def respond(exchange: Exchange) -> None:
        content = exchange.upstream().content
        exchange.send(200, content[: int(len(content) * share)])

    return respond


def hang_up(exchange: Exchange) -> None:
    """Close the connection without a word."""
    exchange.close_connection = True


def slow(seconds: float) -> Respond:
    """Think for long, and then give the right answer."""

    def respond(exchange: Exchange) -> None:
        time.sleep(seconds)
        exchange.pass_on()

    return respond


def stall(seconds: float) -> Respond:
    """Stop in the middle of the right answer."""

    def respond(exchange: Exchange) -> None:
        content = exchange.upstream().content
        exchange.send(200, content[: len(content) // 2], claimed=len(content))
        exchange.wfile.flush()
        time.sleep(seconds)
        exchange.close_connection = True

    return respond
