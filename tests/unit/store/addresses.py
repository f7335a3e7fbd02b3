"""Stores to run tests over, by their addresses: a directory, and a bucket on either S3 server."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.s3_server import MinioServer, VersityServer, shared_server

SERVERS = {server.name: server for server in (MinioServer, VersityServer)}
DIRECTORY = "directory"
S3 = [pytest.param(name, marks=pytest.mark.s3) for name in SERVERS]
S3_LONG = [pytest.param(name, marks=[pytest.mark.s3, pytest.mark.e2e]) for name in SERVERS]


def address_of(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the address of a new store of a kind, and let the environment lead to it."""
    if kind == DIRECTORY:
        return str(tmp_path / "store")
    for name, value in shared_server(SERVERS[kind]).environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://shared/{uuid.uuid4().hex}/models"


@pytest.fixture(params=[DIRECTORY, S3[0]])
def address(request, tmp_path, monkeypatch) -> str:
    """A directory and MinIO: for what is built on the store, whose own tests run over every kind."""
    return address_of(request.param, tmp_path, monkeypatch)
