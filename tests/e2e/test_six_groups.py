"""From a simulated calibration in a real Prometheus to models of all six groups in a real bucket."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.simulate import step as simulate
from kepler_train.simulate.spec import Scenario, SimulationSpec
from tests.e2e.command import kepler_train
from tests.prometheus_server import PrometheusServer
from tests.s3_server import MinioServer


@pytest.mark.e2e
def test_all_six_groups_reach_the_bucket_where_each_has_signal(tmp_path):
    """In a calibration each workload runs alone for a while: long enough even for what the kubelet counts."""
    spec = SimulationSpec(scenario=Scenario.CALIBRATION, nodes=2, pods_per_node=10, duration_seconds=3 * 3600)
    server = PrometheusServer(tmp_path / "data")
    server.load_recordings(simulate.run(spec, tmp_path / "recordings"))
    with server, MinioServer() as bucket:
        bucket.make_bucket("models")
        end = spec.start + timedelta(seconds=spec.duration_seconds)
        span = ["--start", spec.start.isoformat(), "--end", end.isoformat()]
        words = ["run", "--source", "prometheus", server.url, *span, "--store", "s3://models"]
        done = kepler_train(*words, folder=tmp_path, environment=bucket.environment)
        assert done.exit_code == 0, done.stderr
        keys = {entry.object_name for entry in bucket.client.list_objects("models", recursive=True)}
    for group in FeatureGroup:
        published = {
            decision["model_class"]
            for decision in done.decisions().values()
            if decision["group"] == group.value and decision["improved"]
        }
        assert published == {"scikit", "keras"}, done.stdout
        assert any(key.startswith(f"estimator/d351cbf/{group.value}-") for key in keys)
