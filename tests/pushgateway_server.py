"""A real Pushgateway on a free loopback port."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType

import requests
from prometheus_client.parser import text_string_to_metric_families
from typing_extensions import Self

from tests.conftest import missing
from tests.logged_port import START_SECONDS, start


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
        # Debian's keeps what was pushed, in one place for the whole machine, unless it is told another.
        kept = f"--persistence.file={self._log.with_name('pushed')}"
        self._process, self.url = start([self._binary, "--web.listen-address=127.0.0.1:0", kept], self._log)
        return self

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
