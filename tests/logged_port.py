"""Servers that choose a free port themselves and say so in their log: no other process can take it meanwhile."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

START_SECONDS = 60


def start(command: list[str], log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server of Prometheus' family on `127.0.0.1:0`; returns its process and its URL, once it listens."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if listens := re.search(r'"Listening on" address=(\S+:\d+)', log.read_text()):
            return process, f"http://{listens[1]}"
        time.sleep(0.05)
    process.kill()
    process.wait()
    raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()}")
