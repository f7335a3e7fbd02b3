"""Every kind of store: each test that takes `address` runs over a directory and two S3 servers."""

from __future__ import annotations

import pytest

from tests.unit.store.addresses import DIRECTORY, S3, address_of


@pytest.fixture(params=[DIRECTORY, *S3])
def address(request, tmp_path, monkeypatch) -> str:
    return address_of(request.param, tmp_path, monkeypatch)
