"""Real S3 servers for the tests, MinIO and versitygw: on a free port of the loopback, their data in a folder that goes
with them."""

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
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import urllib3
from minio import Minio
from minio.error import MinioException
from typing_extensions import Self

from tests.conftest import missing

START_SECONDS = 60


def binary(name: str) -> Path:
    """Find a server: in the folder of KEPLER_TRAIN_SERVERS, where `make servers` puts it, or on the PATH."""
    folder = Path(os.environ.get("KEPLER_TRAIN_SERVERS") or Path.home() / ".cache" / "kepler-train" / "bin")
    found = shutil.which(name, path=str(folder)) or shutil.which(name)
    if found is None:
        missing(f"no {name} in {folder} or on the PATH; `make servers` builds it")
    return Path(str(found))


class S3Server(ABC):
    """A server as a context manager: `with MinioServer() as server: server.make_bucket("models")`.

    `environment` holds what a client of this project reads: the endpoint, the keys and the region.
    """

    name: str
    """Of the binary."""

    def __init__(self) -> None:
        self.user = "tester"
        self.password = secrets.token_urlsafe(16)
        self.endpoint = ""
        self._binary = binary(self.name)
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self, data: Path, address: str) -> tuple[list[str], dict[str, str]]:
        """The arguments and environment that let it serve a folder at an address."""

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix=f"kepler-train-{self.name}-"))
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start, on the port of before if it ran already, and wait until it answers."""
        port = int(self.endpoint.rpartition(":")[2]) if self.endpoint else free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        arguments, environment = self.command(data, f"127.0.0.1:{port}")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MINIO_", "VGW_"))}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, *arguments],
                env={**inherited, **environment, "HOME": str(self._folder)},
                cwd=self._folder,
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
        raise RuntimeError(f"{self.name} at {self.endpoint} did not start:\n{log}")


class MinioServer(S3Server):
    """MinIO."""

    name = "minio"

    def command(self, data: Path, address: str) -> tuple[list[str], dict[str, str]]:
        environment = {
            "MINIO_ROOT_USER": self.user,
            "MINIO_ROOT_PASSWORD": self.password,
            "MINIO_BROWSER": "off",
        }
        return ["server", str(data), "--address", address], environment


class VersityServer(S3Server):
    """versitygw over a directory: an S3 server that shares no code with MinIO."""

    name = "versitygw"

    def command(self, data: Path, address: str) -> tuple[list[str], dict[str, str]]:
        environment = {"ROOT_ACCESS_KEY": self.user, "ROOT_SECRET_KEY": self.password}
        return ["--port", address, "--quiet", "posix", str(data)], environment


@functools.cache
def shared_server(kind: type[S3Server] = MinioServer) -> S3Server:
    """The one server of a kind that the tests of a process share, each below a prefix of its own in bucket `shared`."""
    server = kind()
    atexit.register(server.__exit__, None, None, None)
    server.__enter__().make_bucket("shared")
    return server


def free_port() -> int:
    """Find a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
