import gzip
import json
from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.dataset as ds
import pytest

from kepler_train.contract.features import WORKLOAD_FEATURES, exporter_label
from kepler_train.simulate.cluster import Cluster
from kepler_train.simulate.recording import TRUTH_FOLDER, write_node
from kepler_train.simulate.series import NodeExporter
from kepler_train.simulate.spec import SimulationSpec
from kepler_train.simulate.step import run
from kepler_train.simulate.tables import TRUTH_SCHEMA

CLEAN = SimulationSpec(nodes=2, duration_seconds=300, faults=False)
CURRENT = [exporter_label(feature) for feature in WORKLOAD_FEATURES]


def load(path: Path):
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("clean")
    run(CLEAN, out)
    return out


@pytest.fixture(scope="module")
def node1(clean):
    return load(next(clean.glob("node1@*.json.gz")))


def label_names(recording, metric):
    return {frozenset(series["metric"]) for series in recording[metric]}


def test_one_recording_and_one_truth_per_node(clean):
    recordings = run(CLEAN, clean)
    assert [path.name for path in recordings] == [f"node{n}@20260105T080003.000000Z.json.gz" for n in (1, 2)]
    assert {path.stem for path in (clean / "truth").iterdir()} == {path.name[: -len(".json.gz")] for path in recordings}


def test_labels_are_those_of_the_real_recordings(node1, recordings):
    real = load(recordings["short"])
    # The real one also holds what node-exporter, another exporter, says about frequencies.
    real = {metric: [s for s in all_ if s["metric"].get("job") != "node-exporter"] for metric, all_ in real.items()}
    assert set(node1) == set(real)
    for metric in real:
        assert label_names(node1, metric) == label_names(real, metric)


def test_labels_are_those_the_exporter_is_known_to_have(node1):
    (pod,) = label_names(node1, "pod_energy_stat")
    assert pod >= {"pod_name", "pod_namespace", "command", "avg_cpu_frequency", "instance", "job", *CURRENT}
    (node,) = label_names(node1, "node_energy_stat")
    assert node >= {"node_name", "cpu_architecture", "node_curr_energy_in_pkg_joule"}
    assert node >= {f"node_{label}" for label in CURRENT}
    (frequency,) = label_names(node1, "node_cpu_scaling_frequency_hertz")
    assert frequency >= {"cpu", "exported_instance"}
    (package,) = label_names(node1, "node_package_energy_millijoule")
    assert package >= {"pkg_id", "core", "dram", "uncore", "exported_instance"}


def test_every_label_and_value_is_text_and_every_time_a_number(node1):
    for metric, all_series in node1.items():
        for series in all_series:
            assert series["metric"]["__name__"] == metric
            assert all(isinstance(value, str) for value in series["metric"].values())
            assert all(isinstance(time, int) and float(value) >= 0 for time, value in series["values"])


def test_sums_over_pods_are_the_nodes_exactly(node1):
    sums = defaultdict(lambda: np.zeros(len(CURRENT), dtype=np.int64))
    for series in node1["pod_energy_stat"]:
        sums[series["values"][0][0]] += [int(series["metric"][label]) for label in CURRENT]
    nodes = {series["values"][0][0]: series["metric"] for series in node1["node_energy_stat"]}
    assert len(nodes) == CLEAN.intervals
    for time, labels in nodes.items():
        assert [int(labels[f"node_{label}"]) for label in CURRENT] == sums[time].tolist()


def test_differences_of_package_counters_are_the_measured_energy(node1):
    counters = defaultdict(lambda: np.zeros(2, dtype=np.int64))
    for series in node1["node_package_energy_millijoule"]:
        ((time, value),) = series["values"]
        counters[time] += [int(value), int(series["metric"]["dram"])]
    times = sorted(counters)
    differences = np.diff([counters[time] for time in times], axis=0)
    nodes = {series["values"][0][0]: series["metric"] for series in node1["node_energy_stat"]}
    for name, column in (("pkg", 0), ("dram", 1)):
        measured = [float(nodes[time][f"node_curr_energy_in_{name}_joule"]) * 1e3 for time in times[1:]]
        np.testing.assert_allclose(differences[:, column], measured, rtol=0, atol=1e-6)


def test_totals_add_up_the_current_values(node1):
    system = sorted(
        (series["values"][0][0], series["metric"])
        for series in node1["pod_energy_stat"]
        if series["metric"]["pod_name"] == "system_processes"
    )
    totals = [int(labels["total_cpu_cycles"]) for _, labels in system]
    assert np.diff(totals).tolist() == [int(labels["curr_cpu_cycles"]) for _, labels in system[1:]]


def test_frequencies_are_in_kilohertz_and_held_for_a_minute(node1):
    series = node1["node_cpu_scaling_frequency_hertz"]
    assert len(series) == 72
    for cpu in series:
        times, values = zip(*cpu["values"], strict=True)
        assert all(1e6 < float(value) < 4e6 for value in values)
        changes = [time for time, before, after in zip(times[1:], values, values[1:], strict=False) if before != after]
        assert 1 <= len(changes) <= 6


def test_attributed_energies_add_up_to_the_measured_node(node1):
    attributed = defaultdict(float)
    for series in node1["pod_energy_stat"]:
        attributed[series["values"][0][0]] += float(series["values"][0][1])
    for series in node1["node_energy_stat"]:
        measured = float(series["metric"]["node_curr_energy_in_pkg_joule"]) * 1e3
        assert attributed[series["values"][0][0]] == pytest.approx(measured, abs=20)


def test_there_is_one_truth_per_pod_sample(clean, node1):
    truth = ds.dataset(clean / "truth").to_table(filter=ds.field("node") == "node1")
    assert truth.schema.equals(TRUTH_SCHEMA)
    rows = truth.to_pylist()
    samples = [
        (series["values"][0][0], series["metric"]["pod_name"], series["metric"]["pod_namespace"])
        for series in node1["pod_energy_stat"]
    ]
    assert sorted((int(row["timestamp"].timestamp()), row["pod_name"], row["pod_namespace"]) for row in rows) == sorted(
        samples
    )
    assert {row["idle_millijoules"] for row in rows} == {Cluster(CLEAN).nodes[0].idle_millijoules}


def test_the_same_spec_writes_the_same_bytes(clean, tmp_path):
    faulty = msgspec.structs.replace(CLEAN, faults=True)
    for spec, folder in ((CLEAN, "again"), (faulty, "one"), (faulty, "two")):
        run(spec, tmp_path / folder)
    for path in (tmp_path / "again").rglob("*.*"):
        assert path.read_bytes() == (clean / path.relative_to(tmp_path / "again")).read_bytes()
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_whoever_is_interrupted_leaves_whole_recordings_alone(tmp_path, monkeypatch):
    written = []

    def scrapes(exporter, stretch, original=NodeExporter.scrapes):
        if written:
            raise KeyboardInterrupt
        yield from original(exporter, stretch)

    monkeypatch.setattr(NodeExporter, "scrapes", scrapes)
    (tmp_path / TRUTH_FOLDER).mkdir()
    first, second = Cluster(CLEAN).nodes
    written.extend(write_node(first, tmp_path))
    with pytest.raises(KeyboardInterrupt):
        list(write_node(second, tmp_path))
    assert [path for path in tmp_path.iterdir() if path.is_file()] == written
    assert load(written[0])


def test_a_long_window_goes_to_several_files_and_counters_go_on(tmp_path):
    node = Cluster(msgspec.structs.replace(CLEAN, faults=True)).nodes[0]
    (tmp_path / "truth").mkdir()
    (whole,) = (load(path) for path in write_node(node, tmp_path))
    parts = [load(path) for path in write_node(node, tmp_path, samples_per_file=500)]
    assert len(parts) == 3
    assert all(len(part["pod_energy_stat"]) <= 500 for part in parts)
    for metric in ("node_energy_stat", "node_package_energy_millijoule"):
        assert [series for part in parts for series in part[metric]] == whole[metric]
    assert sum(len(part["pod_energy_stat"]) for part in parts) == len(whole["pod_energy_stat"])
