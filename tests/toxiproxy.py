"""toxiproxy before a real server: TCP connections that lag, stall, break in their middle or are refused."""

from __future__ import annotations

import socket
import subprocess
import time
from types import TracebackType
from urllib.parse import urlsplit

import requests
from typing_extensions import Self

from tests.s3_server import binary, free_port

START_SECONDS = 30


class Toxiproxy:
    """A context manager; `endpoint` leads to the server at `target` through whatever `poison` was told."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target).netloc
        self._api = ""
        self.endpoint = ""

    def __enter__(self) -> Self:
        port, entry = free_port(), free_port()
        arguments = [binary("toxiproxy"), "-host", "127.0.0.1", "-port", str(port), "-seed", "1"]
        self._process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for(port)
        self._api = f"http://127.0.0.1:{port}/proxies"
        self._post("", name="s3", listen=f"127.0.0.1:{entry}", upstream=self._target)
        self.endpoint = f"http://127.0.0.1:{entry}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(START_SECONDS)

    def poison(self, toxic: str, stream: str, **attributes: int) -> None:
        """Add a toxic to what goes `upstream` or `downstream`."""
        self._post("/s3/toxics", type=toxic, stream=stream, attributes=attributes)

    def refuse(self) -> None:
        """Let nobody connect any more."""
        self._post("/s3", enabled=False)

    def heal(self) -> None:
        """Take all toxics away, and let everybody connect."""
        requests.post(self._api.replace("/proxies", "/reset"), timeout=START_SECONDS).raise_for_status()

    def _post(self, path: str, **content: object) -> None:
        requests.post(self._api + path, json=content, timeout=START_SECONDS).raise_for_status()


def _wait_for(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("toxiproxy did not start")
