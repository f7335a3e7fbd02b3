from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from kepler_train.assemble import step
from kepler_train.assemble.workloads import workload_of
from kepler_train.contract.evidence import SplitEvidence, SplitVerdict
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.parts import read_part
from kepler_train.contract.tables import NODE_STAT, POD_STAT
from kepler_train.simulate.cluster import Cluster
from kepler_train.simulate.spec import Scenario, SimulationSpec
from kepler_train.simulate.tables import window_tables
from tests.unit.assemble.windows import NodeFrames, steady_node, write_window

BASE = SimulationSpec(seed=2, duration_seconds=2400.0, faults=False)


def evidence_of(folder: Path, *nodes: NodeFrames, group: FeatureGroup = FeatureGroup.COUNTER_ONLY) -> SplitEvidence:
    window = write_window(folder / "window", *nodes, shard_intervals=2400)
    training, held_out = step.run([window], group, folder / "training", folder / "held_out")
    assert read_part(folder / "training") == training
    assert held_out.split_evidence is None
    assert training.split_evidence is not None
    return training.split_evidence


def simulated(*specs: SimulationSpec) -> list[NodeFrames]:
    """The nodes of a cluster over some spans."""
    nodes = []
    for node in Cluster(specs[0]).nodes:
        spans = [window_tables(Cluster(spec).nodes[int(node.name[4:]) - 1].stretch(spec.first_interval, spec.intervals))
                 for spec in specs]  # fmt: skip
        tables = {table: pd.concat([_frame(span[table]) for span in spans], ignore_index=True) for table in spans[0]}
        nodes.append(NodeFrames(node.name, {name: rows.sort_values("timestamp") for name, rows in tables.items()}))
    return nodes


def _frame(table):
    frame = table.to_pandas()
    frame["timestamp"] = table.column("timestamp").cast("int64").to_numpy()
    return frame


ALONE = replace(BASE, scenario=Scenario.CALIBRATION, start=BASE.start - timedelta(hours=6), duration_seconds=1200.0)


@pytest.mark.parametrize(
    ("specs", "verdict"),
    [
        ([BASE], SplitVerdict.DETERMINED),
        ([replace(BASE, scenario=Scenario.MIXES, nodes=6)], SplitVerdict.DETERMINED),
        ([replace(BASE, scenario=Scenario.ONE_CURVE)], SplitVerdict.GUESS),
        ([replace(BASE, scenario=Scenario.ONE_VARIES)], SplitVerdict.GUESS),
        ([replace(BASE, scenario=Scenario.ONE_CURVE), ALONE], SplitVerdict.DETERMINED),
        ([replace(BASE, scenario=Scenario.ONE_VARIES), ALONE], SplitVerdict.DETERMINED),
    ],
    ids=["independent", "mixes", "one curve", "one varies", "one curve, calibration", "one varies, calibration"],
)
def test_what_the_data_say_of_the_split(specs, verdict, tmp_path):
    found = evidence_of(tmp_path, *simulated(*specs))
    assert found.verdict is verdict, found
    assert set(found.condition_of_node) == {f"node{number + 1}" for number in range(specs[0].nodes)}


def test_nodes_with_different_mixes_tell_together_what_each_alone_does_not(tmp_path):
    found = evidence_of(tmp_path, *simulated(replace(BASE, scenario=Scenario.MIXES, nodes=6)))
    assert found.condition < 0.7 * np.median(list(found.condition_of_node.values()))


def test_workloads_that_follow_one_curve_are_named(tmp_path):
    found = evidence_of(tmp_path, *simulated(replace(BASE, scenario=Scenario.ONE_CURVE)))
    assert found.together
    assert "data/database" in found.together[0] or "shop/web" in found.together[0]
    assert not found.still


def test_workloads_that_hardly_vary_are_named(tmp_path):
    found = evidence_of(tmp_path, *simulated(replace(BASE, scenario=Scenario.ONE_VARIES, rests=False)))
    assert found.still
    assert found.together == ()


def test_replicas_and_restarts_of_a_workload_are_one(tmp_path):
    node = steady_node()
    pods = node.tables[POD_STAT]
    halves = pods["timestamp"] > pods["timestamp"].median()
    ends = np.where(halves, "-7c9d8bb5f4-x2x4z", "-7c9d8bb5f4-8kq6v")
    pods["pod_name"] = pods["pod_name"].str.replace("pod-", "pod", regex=False) + ends
    found = evidence_of(tmp_path, node)
    assert found.condition < 16
    assert all("7c9d8bb5f4" not in name for names in (*found.together, found.still) for name in names)


def test_a_node_with_one_workload_has_nothing_to_split(tmp_path):
    window = write_window(tmp_path / "window", steady_node(pods=1))
    training, _ = step.run([window], FeatureGroup.BPF_ONLY, tmp_path / "training", tmp_path / "held_out")
    assert training.split_evidence is None


def test_without_the_nodes_own_sums_nothing_is_said(tmp_path):
    node = steady_node()
    label = "node_curr_cpu_time"
    node.tables[NODE_STAT][label] = node.tables[POD_STAT].groupby("timestamp")["curr_cpu_time"].sum().to_numpy() * 0
    node.tables[POD_STAT]["curr_cpu_time"] = 0.0
    window = write_window(tmp_path / "window", node)
    training, _ = step.run([window], FeatureGroup.BPF_ONLY, tmp_path / "training", tmp_path / "held_out")
    assert training.split_evidence is None


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("web-5d4f8c7b9d-x7k2q", "shop/web"),
        ("web-ba9d71e4-x7k2q", "shop/web"),
        ("web-front-5d4f8c7b9d-x7k2q", "shop/web-front"),
        ("node-exporter-x7k2q", "shop/node-exporter"),
        ("postgres-0", "shop/postgres"),
        ("report-29384756-x7k2q", "shop/report"),
        ("system_processes", "shop/system_processes"),
        ("web", "shop/web"),
    ],
)
def test_a_pods_workload(pod, workload):
    assert workload_of("shop", pod) == workload


def test_a_line_break_in_a_pods_name_is_part_of_it(tmp_path):
    frames = steady_node()
    frames.tables[POD_STAT]["pod_name"] += "\nx"
    assert list(evidence_of(tmp_path, frames).condition_of_node) == ["node1"]
