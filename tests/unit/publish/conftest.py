"""The two kinds of store, as the store's own tests have them."""

import pytest

from tests.unit.store.addresses import address

__all__ = ["address"]


@pytest.fixture
def short_leases(monkeypatch):
    """Let what a killed holder left behind in a bucket be taken over at once."""
    monkeypatch.setattr("kepler_train.store.s3._LEASE_SECONDS", 0.2)
    monkeypatch.setattr("kepler_train.store.s3._LEASE_POLL_SECONDS", 0.1)
