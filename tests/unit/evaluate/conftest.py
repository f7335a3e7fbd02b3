from __future__ import annotations

import pytest

from kepler_train.estimators import stock


@pytest.fixture(autouse=True)
def _classes_of_tests_are_stock(monkeypatch):
    """Models that misbehave in one way are classes of the tests, and other gates are to see them."""
    monkeypatch.setattr(stock, "PACKAGES", stock.PACKAGES | {"tests"})
