"""A real S3 server for the tests: MinIO on a free port of the loopback, its data in a folder that goes with it."""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import urllib3
from minio import Minio
from minio.error import MinioException
from typing_extensions import Self

from tests.conftest import missing

START_SECONDS = 60


def minio_binary() -> Path:
    """Find MinIO: in the folder of KEPLER_TRAIN_SERVERS, where `make servers` puts it, or on the PATH."""
    folder = Path(os.environ.get("KEPLER_TRAIN_SERVERS") or Path.home() / ".cache" / "kepler-train" / "bin")
    found = shutil.which("minio", path=str(folder)) or shutil.which("minio")
    if found is None:
        missing(f"no MinIO in {folder} or on the PATH; `make servers` builds it")
    return Path(str(found))


class MinioServer:
    """A MinIO as a context manager: `with MinioServer() as server: server.make_bucket("models")`.

    `environment` holds what a client of this project reads: the endpoint, the keys and the region.
    """

    def __init__(self) -> None:
        self.user = "tester"
        self.password = secrets.token_urlsafe(16)
        self.endpoint = ""
        self._binary = minio_binary()
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="kepler-train-minio-"))
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start, on the port of before if it ran already, and wait until it answers."""
        port = int(self.endpoint.rpartition(":")[2]) if self.endpoint else _free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MINIO_")},
            "MINIO_ROOT_USER": self.user,
            "MINIO_ROOT_PASSWORD": self.password,
            "MINIO_BROWSER": "off",
            "HOME": str(self._folder),
        }
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, "server", self._folder / "data", "--address", f"127.0.0.1:{port}"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End the server; its data stay until the context ends."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)
            self._process = None

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that point this project's store at the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.user,
            "AWS_SECRET_ACCESS_KEY": self.password,
            "AWS_REGION": "us-east-1",
        }

    @property
    def client(self) -> Minio:
        """A client of the server, to look behind the store's back."""
        return Minio(
            self.endpoint.removeprefix("http://"),
            access_key=self.user,
            secret_key=self.password,
            secure=False,
            region="us-east-1",
            # The client's own retries would obey `Retry-After: 60`, which a server that still starts answers.
            http_client=urllib3.PoolManager(retries=False, timeout=5),
        )

    def make_bucket(self, name: str) -> None:
        """Make a bucket (a name has three letters or more)."""
        self.client.make_bucket(name)

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                self.client.list_buckets()
            except (urllib3.exceptions.HTTPError, MinioException):
                time.sleep(0.05)
            else:
                return
        log = (self._folder / "server.log").read_text(errors="replace")
        self.stop()
        raise RuntimeError(f"MinIO at {self.endpoint} did not start:\n{log}")


@functools.cache
def shared_server() -> MinioServer:
    """The one server that the tests of a process share, each below a prefix of its own in the bucket `shared`."""
    server = MinioServer()
    atexit.register(server.__exit__, None, None, None)
    server.__enter__().make_bucket("shared")
    return server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
