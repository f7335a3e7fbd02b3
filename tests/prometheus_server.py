"""A real Prometheus on a free loopback port, with data loaded the ways it gets there: blocks, remote write, scrapes."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import requests
from typing_extensions import Self

from tests.conftest import missing

START_SECONDS = 60
STALE_MARKER = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]
"""The NaN by which Prometheus marks the end of a series."""

Series = tuple[Mapping[str, str], Sequence[tuple[float, float]]]
"""Labels with `__name__`, and samples as (Unix seconds, value)."""


class PrometheusServer:
    """A Prometheus over `data_dir`; a context manager. Load blocks before it starts, write or scrape after.

    `web_config` is the text of a web configuration file (basic auth, TLS), `scrape_configs` of that section,
    `arguments` are further flags. `ca_file` is given where the server has TLS.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        scrape_configs: str = "",
        web_config: str = "",
        arguments: Sequence[str] = (),
        ca_file: Path | None = None,
    ) -> None:
        if not (shutil.which("prometheus") and shutil.which("promtool")):
            missing("prometheus and promtool are not on the path; `make servers` tells where they come from")
        self.data_dir = data_dir
        self.url = ""
        self._scrape_configs = scrape_configs
        self._web_config = web_config
        self._arguments = tuple(arguments)
        self._ca_file = ca_file
        self._process: subprocess.Popen[bytes] | None = None
        data_dir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The id of the running server."""
        assert self._process, "the server is not running"
        return self._process.pid

    def start(self) -> Self:
        """Start, and wait until it answers."""
        port = _free_port()
        self.url = f"{'https' if self._ca_file else 'http'}://127.0.0.1:{port}"
        folder = self.data_dir.parent / f"{self.data_dir.name}-server"
        folder.mkdir(exist_ok=True)
        (folder / "prometheus.yml").write_text(f"scrape_configs:\n{self._scrape_configs}\n")
        (folder / "web.yml").write_text(self._web_config)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--web.config.file={folder / 'web.yml'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--web.enable-remote-write-receiver",
                    f"--storage.tsdb.path={self.data_dir}",
                    "--storage.tsdb.retention.time=100y",
                    *self._arguments,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready(folder / "log")
        return self

    def stop(self) -> None:
        """Stop; data stays and can be served again by `start`."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """End at once, as a crash does."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def load_openmetrics(self, file: Path) -> None:
        """Make blocks, without staleness markers, of a text file that ends with `# EOF`; before `start`."""
        assert not self._process, "load blocks before the server starts"
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(file), str(self.data_dir)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def load_recordings(self, files: Iterable[Path]) -> None:
        """Make blocks of recordings; before `start`."""
        text = self.data_dir.parent / f"{self.data_dir.name}.openmetrics"
        write_openmetrics((series for file in files for series in recorded_series(file)), text)
        self.load_openmetrics(text)
        text.unlink()

    def remote_write(self, series: Iterable[Series]) -> None:
        """Write into the running server; times of one server may only go forward (by about an hour)."""
        body = b"".join(_field(1, _time_series(labels, samples)) for labels, samples in series)
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        packed = pa.compress(body, codec="snappy", asbytes=True)
        answer = requests.post(f"{self.url}/api/v1/write", data=packed, headers=headers, timeout=120)
        assert answer.ok, answer.text[:500]

    def cpu_seconds(self) -> float:
        """CPU time that the server has used since it started."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _wait_until_ready(self, log: Path) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self._process
            if self._process.poll() is not None:
                break
            try:
                # 401 is an answer too: a server with basic auth is there.
                if requests.get(f"{self.url}/-/ready", verify=str(self._ca_file or True), timeout=5).status_code < 500:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"Prometheus did not start:\n{log.read_text()[-3000:]}")


def recorded_series(file: Path) -> Iterator[Series]:
    """Go through the series of a recording, which may be gzipped."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
        content = json.load(stream)
    for name, all_series in content.items():
        for one in all_series:
            yield {**one["metric"], "__name__": name}, one["values"]


def write_openmetrics(series: Iterable[Series], file: Path) -> None:
    """Write series as OpenMetrics text."""
    with file.open("w") as text:
        for labels, samples in series:
            pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items() if name != "__name__")
            for seconds, value in samples:
                text.write(f"{labels['__name__']}{{{pairs}}} {value} {seconds}\n")
        text.write("# EOF\n")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _time_series(labels: Mapping[str, str], samples: Sequence[tuple[float, float]]) -> bytes:
    """Encode as a TimeSeries message of remote write: labels sorted by name, times in milliseconds."""
    message = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in sorted(labels.items())
    )
    for seconds, value in samples:
        sample = b"\x09" + struct.pack("<d", float(value)) + b"\x10" + _varint(round(seconds * 1000))
        message += _field(2, sample)
    return message


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
