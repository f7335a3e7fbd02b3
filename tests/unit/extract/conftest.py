from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.prometheus_server import PrometheusServer
from tests.unit.extract.cluster import START, Cluster


@pytest.fixture
def cluster() -> Cluster:
    """Two nodes of three pods over two minutes, timestamps between milliseconds' binary neighbours."""
    return Cluster()


@pytest.fixture(scope="session")
def served_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that holds the default cluster."""
    folder = tmp_path_factory.mktemp("served-cluster")
    recording = Cluster().write(folder / "cluster.json")
    server = PrometheusServer(folder / "data")
    server.load_recordings([recording])
    with server:
        yield server


@pytest.fixture
def cluster_window() -> tuple[str, str]:
    """Start and end of a span with all of the default cluster in it."""
    return START.strftime("%Y-%m-%dT%H:%M:%SZ"), START.replace(minute=5).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No credentials from outside."""
    for name in ("USERNAME", "PASSWORD", "BEARER_TOKEN", "CA_FILE"):
        monkeypatch.delenv(f"PROMETHEUS_{name}", raising=False)
        monkeypatch.delenv(f"PROMETHEUS_{name}_FILE", raising=False)
    return monkeypatch
