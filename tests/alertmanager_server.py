"""A real Alertmanager on a free loopback port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from typing_extensions import Self

from tests.conftest import missing

START_SECONDS = 60


class AlertmanagerServer:
    """As a context manager over a folder: `with AlertmanagerServer(tmp_path) as server`."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        if found is None:
            missing("alertmanager is not on the path; `make servers` tells where it comes from")
        self._binary = str(found)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{address}"
        config = self._folder / "alertmanager.yml"
        config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        with (self._folder / "alertmanager.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self._binary,
                    f"--config.file={config}",
                    f"--storage.path={self._folder / 'data'}",
                    f"--web.listen-address={address}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                requests.get(f"{self.url}/-/ready", timeout=5).raise_for_status()
            except requests.RequestException:
                time.sleep(0.05)
            else:
                return self
        self.__exit__(None, None, None)
        raise RuntimeError(f"Alertmanager did not start:\n{(self._folder / 'alertmanager.log').read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)

    def active(self) -> dict[str, Any]:
        """Name to alert, of those that stand."""
        alerts = requests.get(f"{self.url}/api/v2/alerts", timeout=10).json()
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["status"]["state"] == "active"}
