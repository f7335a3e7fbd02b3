"""A real Pushgateway on a free loopback port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import requests
from prometheus_client.parser import text_string_to_metric_families
from typing_extensions import Self

from tests.conftest import missing

START_SECONDS = 60


class PushgatewayServer:
    """As a context manager over a folder for its log: `with PushgatewayServer(tmp_path) as server`."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")
        if found is None:
            missing("pushgateway is not on the path; `make servers` tells where it comes from")
        self._binary = str(found)
        self._log = folder / "pushgateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{address}"
        with self._log.open("wb") as log:
            command = [self._binary, f"--web.listen-address={address}"]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                requests.get(f"{self.url}/-/ready", timeout=5).raise_for_status()
            except requests.RequestException:
                time.sleep(0.05)
            else:
                return self
        self.__exit__(None, None, None)
        raise RuntimeError(f"the Pushgateway did not start:\n{self._log.read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)

    def samples(self, prefix: str) -> dict[str, dict[tuple[str, ...], float]]:
        """Metric to its values, by the values of its labels without those of the push."""
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(requests.get(f"{self.url}/metrics", timeout=10).text):
            for sample in family.samples:
                if sample.name.startswith(prefix):
                    own = {name: value for name, value in sample.labels.items() if name not in {"job", "instance"}}
                    found.setdefault(sample.name, {})[tuple(own.values())] = sample.value
        return found
