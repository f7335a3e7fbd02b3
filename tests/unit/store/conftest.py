"""Both kinds of store, by their addresses: every test that takes `address` runs over a directory and over MinIO."""

from __future__ import annotations

import uuid

import pytest

from tests.s3_server import shared_server


@pytest.fixture(params=["directory", pytest.param("s3", marks=pytest.mark.s3)])
def address(request, tmp_path, monkeypatch) -> str:
    if request.param == "directory":
        return str(tmp_path / "store")
    for name, value in shared_server().environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://shared/{uuid.uuid4().hex}/models"
