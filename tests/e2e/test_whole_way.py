"""From recordings in a real Prometheus to models in a real bucket, and from there to an estimator's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.estimators import d351cbf
from kepler_train.store import open_store
from tests.e2e.command import Done, kepler_train
from tests.prometheus_server import PrometheusServer
from tests.s3_server import MinioServer

STORE = "s3://power-models/cluster-a"
WITH_SIGNAL = {"Full", "WorkloadOnly", "CounterOnly"}
"""Groups that carry much signal in the recordings."""
WITHOUT_SIGNAL = {"CgroupOnly", "KubeletOnly"}
"""Groups whose features hardly move there. CPU time alone lies between: some minutes more or less decide."""
WITH_LOAD = ("2022-10-19T07:02:30Z", "2022-10-19T07:44:00Z")


@pytest.fixture(scope="module")
def prometheus(recordings, tmp_path_factory):
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus") / "data")
    server.load_recordings([recordings["coremark"], recordings["idle"]])
    with server:
        yield server


@pytest.fixture(scope="module")
def bucket():
    with MinioServer() as server:
        server.make_bucket("power-models")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environment.items():
                patch.setenv(name, value)
            yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("work")


def run(prometheus: PrometheusServer, folder: Path, span: tuple[str, str]) -> Done:
    words = ["run", "--source", "prometheus", prometheus.url, "--start", span[0], "--end", span[1], "--store", STORE]
    return kepler_train(*words, folder=folder)


@pytest.fixture(scope="module")
def first(prometheus, bucket, folder) -> Done:
    return run(prometheus, folder, WITH_LOAD)


@pytest.mark.e2e
class TestTheWholeWay:
    def test_what_is_better_than_a_constant_is_published_and_nothing_else(self, first):
        assert first.exit_code == 0, first.stderr
        index = open_store(STORE).read_index()
        decisions = first.decisions()
        improved = {name for name, decision in decisions.items() if decision["improved"]}
        assert improved == {f"{group}/{name}" for group, models in index.models.items() for name in models}
        assert set(index.models) >= WITH_SIGNAL, first.stdout
        assert not set(index.models) & WITHOUT_SIGNAL, first.stdout
        for name, decision in decisions.items():
            if name not in improved:
                assert "a constant" in decision["reason"], "it says what held it back"

    def test_counters_come_near_to_what_the_node_measured(self, first):
        errors = {
            name: decision["candidate"]["mape_percent"]
            for name, decision in first.decisions().items()
            if name.startswith(("CounterOnly/", "WorkloadOnly/", "Full/")) and "linear" not in name
        }
        assert errors
        assert max(errors.values()) < 8, errors

    def test_the_report_is_there(self, first):
        page = Path(first.result["report"]).read_text()
        assert all(group.value in page for group in FeatureGroup)
        assert "node_cpu_scaling_frequency_hertz" in page, "the recordings lack it, and the report says so"

    def test_an_estimator_loads_what_was_published(self, first, folder):
        synced = kepler_train("sync", "--store", STORE, "--into", folder / "estimator", folder=folder)
        assert synced.exit_code == 0, synced.stderr
        served = open_store(STORE).read_index()
        names = {f"{group}-{name}" for group, models in served.models.items() for name in models}
        models = list((folder / "estimator" / "current").iterdir())
        assert {path.name for path in models} == names
        for path in models:
            model = d351cbf.load(path)
            request = np.zeros((3, len(model.metadata.features)), dtype=object)
            if "cpu_architecture" in model.metadata.features:
                request[:, model.metadata.features.index("cpu_architecture")] = "Broadwell"
            assert len(model.powers(request)) == 3

    def test_the_same_window_again_changes_nothing(self, first, prometheus, folder, bucket):
        store = open_store(STORE)
        before = store.read_index()
        again = run(prometheus, folder, WITH_LOAD)
        assert again.exit_code == 0, again.stderr
        for name, decision in again.decisions().items():
            if name in {f"{group}/{model}" for group, models in before.models.items() for model in models}:
                assert decision["champion_version"], decision
                assert not decision["improved"], decision["reason"]
        assert store.read_index() == before


@pytest.mark.e2e
def test_champions_of_another_cluster_are_replaced_for_a_reason(prometheus, bucket, folder):
    store = "s3://power-models/cluster-b"
    words = ["--store", store, "--groups", "CounterOnly"]
    simulated = kepler_train("run", "--source", "simulate", *words, folder=folder)
    assert simulated.exit_code == 0, simulated.stderr
    champions = open_store(store).read_index().models["CounterOnly"]
    source = ["--source", "prometheus", prometheus.url, "--start", WITH_LOAD[0], "--end", WITH_LOAD[1]]
    recorded = kepler_train("run", *source, *words, folder=folder)
    assert recorded.exit_code == 0, recorded.stderr
    for name in ("concave", "concave-keras"):
        decision = recorded.decisions()[f"CounterOnly/{name}"]
        assert decision["champion_version"] == champions[name].version
        assert decision["improved"], decision["reason"]
        assert "for the champion, better by more than noise" in decision["reason"]
        assert decision["candidate"]["mape_percent"] < decision["champion"]["mape_percent"]
        assert open_store(store).read_index().models["CounterOnly"][name].version != champions[name].version
