"""Several windows by one command line, down to what the model and the report say of idle."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from kepler_train.contract.evidence import IdleSource
from kepler_train.contract.models import read_candidate
from kepler_train.simulate import step as simulate
from kepler_train.simulate.cluster import Cluster
from kepler_train.simulate.spec import Scenario, SimulationSpec
from tests.e2e.command import kepler_train
from tests.prometheus_server import PrometheusServer

PRODUCTION = SimulationSpec(
    nodes=2, pods_per_node=8, scenario=Scenario.ONE_VARIES, duration_seconds=2400.0, faults=False
)
IDLE = replace(PRODUCTION, scenario=Scenario.IDLE, start=PRODUCTION.start - timedelta(hours=2), duration_seconds=300.0)


@pytest.mark.e2e
def test_an_idle_recording_beside_production_tells_idle(tmp_path):
    server = PrometheusServer(tmp_path / "data")
    server.load_recordings(
        file for spec in (PRODUCTION, IDLE) for file in simulate.run(spec, tmp_path / spec.scenario.value)
    )
    spans = []
    for spec in (PRODUCTION, IDLE):
        end = spec.start + timedelta(seconds=spec.duration_seconds)
        spans += ["--start", spec.start.isoformat(), "--end", end.isoformat()]
    words = ["--groups", "CounterOnly", "--unsigned", "--store", tmp_path / "models"]
    with server:
        done = kepler_train("run", "--source", "prometheus", server.url, *spans, *words, folder=tmp_path)

    assert done.exit_code == 0, done.stderr
    (file,) = Path(done.result["folder"]).rglob("counteronly-concave-train/candidate/candidate.json")
    candidate = read_candidate(file.parent)
    for node in Cluster(PRODUCTION).nodes:
        assert candidate.idle_of(node.name) == pytest.approx(node.idle_millijoules, rel=0.12)
        assert candidate.idle_evidence[node.name].source is IdleSource.FURTHER
    assert "2 nodes: a further window" in Path(done.result["report"]).read_text()
