"""A real Alertmanager on a free loopback port."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from typing_extensions import Self

from tests.conftest import missing
from tests.logged_port import START_SECONDS, start


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
        config = self._folder / "alertmanager.yml"
        config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        command = [
            self._binary,
            f"--config.file={config}",
            f"--storage.path={self._folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ]
        self._process, self.url = start(command, self._folder / "alertmanager.log")
        return self

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
