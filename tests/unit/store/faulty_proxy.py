"""A proxy before a real S3 server that goes wrong on demand; what it lets through, the real server answers."""

from __future__ import annotations

import http.client
import itertools
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from typing_extensions import Self

Fault = Callable[["_Handler"], None]


def unavailable(handler: _Handler) -> None:
    """The server is overloaded: 503, nothing done."""
    handler.send_response(503)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def broken(handler: _Handler) -> None:
    """The server is broken: 500, nothing done."""
    handler.send_response(500)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def silent(handler: _Handler) -> None:
    """The server takes the request and never answers."""
    handler.proxy.stopped.wait(60)
    handler.close_connection = True


def not_s3(handler: _Handler) -> None:
    """Something else answers: a page in HTML."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", "6")
    handler.end_headers()
    handler.wfile.write(b"<html>")


def cut_before(handler: _Handler) -> None:
    """The connection is cut before the server sees the request."""
    handler.cut()


def cut_after(handler: _Handler) -> None:
    """The server does what is asked, but its answer is lost."""
    handler.forward()
    handler.cut()


def fail_after(handler: _Handler) -> None:
    """The server does what is asked, but a gateway answers 502."""
    handler.forward()
    handler.send_response(502)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def half_body(handler: _Handler) -> None:
    """The answer's body ends in the middle."""
    status, headers, body = handler.forward()
    handler.answer(status, headers, body, sent=len(body) // 2)
    handler.cut()


def cut_document(handler: _Handler) -> None:
    """The server is overloaded, and its answer in XML ends in the middle, as if it were whole."""
    handler.answer(503, [("Content-Type", "application/xml")], b"<Error><Code>Slow")


def garbled_document(handler: _Handler) -> None:
    """The same, and what there is of it is no UTF-8."""
    handler.answer(503, [("Content-Type", "application/xml")], b"<Error><Code>\xff</Code></Error>")


def empty_body(handler: _Handler) -> None:
    """The answer's body is empty, and said to be whole."""
    status, headers, _ = handler.forward()
    handler.answer(status, headers, b"")


def short_body(handler: _Handler) -> None:
    """The answer's body ends in the middle, and is said to be whole."""
    status, headers, body = handler.forward()
    handler.answer(status, headers, body[: len(body) // 2])


def overlook(condition: str) -> Fault:
    """The server is one that does not know a condition of a write, and writes."""

    def fault(handler: _Handler) -> None:
        del handler.headers[condition]
        handler.pass_on()

    return fault


def not_implemented(handler: _Handler) -> None:
    """The server is one that refuses any condition of a write."""
    handler.answer(501, [("Content-Type", "application/xml")], b"<Error><Code>NotImplemented</Code></Error>")


class FaultyProxy:
    """A context manager; each request of `method` takes the next of `faults`, later ones are let through.

    Without a method, requests of every kind do.

    With a certificate (PEM, its key in the same file) it speaks TLS.
    """

    def __init__(self, endpoint: str, certificate: Path | None = None) -> None:
        target = urlsplit(endpoint)
        self.faults: list[Fault] = []
        self.method: str | None = "PUT"
        self.stopped = threading.Event()
        self.requests: list[str] = []
        handler = type("Handler", (_Handler,), {"proxy": self, "target": (target.hostname, target.port)})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.endpoint = self.endpoint.replace("http://", "https://")

    def fail_from(self, number: int, fault: Fault, times: int | None = None) -> None:
        """Let that many requests pass, counted from now, then fault so many, or all that follow."""
        self.method, self.requests = None, []
        faults = itertools.repeat(fault) if times is None else itertools.repeat(fault, times)
        self.faults = [_Handler.pass_on] * number + (list(itertools.islice(faults, 1000)))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    target: tuple[str, int]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer's body waits 40 ms for the acknowledgement of its head

    def _handle(self) -> None:
        self.content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.requests.append(self.command)
        if self.proxy.method in {None, self.command} and self.proxy.faults:
            fault = self.proxy.faults.pop(0)
            fault(self)
            self.close_connection = fault is not _Handler.pass_on
            return
        self.pass_on()

    def pass_on(self) -> None:
        self.answer(*self.forward())

    do_GET = do_PUT = do_DELETE = _handle  # noqa: N815 (the base class looks for these names)

    def forward(self) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.target)
        connection.request(self.command, self.path, self.content, dict(self.headers))
        response = connection.getresponse()
        found = response.status, response.getheaders(), response.read()
        connection.close()
        return found

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, sent: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])

    def cut(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the name of the base class)
        pass
