"""A window of a real Prometheus, read by one task and by three: the same parts, the same summary."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from kepler_train.assemble import step as assemble
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.window import SUMMARY_FILE, WindowSummary
from kepler_train.extract import resolve
from kepler_train.extract import step as extract
from kepler_train.extract.share import Share
from kepler_train.simulate import step as simulate
from kepler_train.simulate.spec import SimulationSpec
from tests.prometheus_server import PrometheusServer

pytestmark = pytest.mark.prometheus

SPEC = SimulationSpec(seed=4, nodes=5, pods_per_node=6, duration_seconds=600.0)
"""Four of its nodes are in the first share of three, one is in the third."""


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The folders of one extraction, and of three."""
    folder = tmp_path_factory.mktemp("shares")
    server = PrometheusServer(folder / "data")
    server.load_recordings(simulate.run(SPEC, folder / "recorded"))
    start, end = (f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in (SPEC.start, SPEC.start + timedelta(seconds=600)))
    with server:
        window = resolve.run(prometheus_url=server.url, start=[start], end=[end], now=SPEC.start)
        extract.run(window, folder / "whole")
        for number in (1, 2, 3):
            extract.run(window, folder / str(number), Share(number, 3))
    return {"one": [folder / "whole"], "three": [folder / str(number) for number in (1, 2, 3)]}


def test_shares_are_of_different_nodes_and_one_has_none(windows: dict[str, list[Path]]) -> None:
    read = [WindowSummary.read(window / SUMMARY_FILE).nodes for window in windows["three"]]
    assert read == [("node1", "node2", "node3", "node4"), (), ("node5",)]


@pytest.mark.parametrize("group", [FeatureGroup.COUNTER_ONLY, FeatureGroup.FULL])
def test_what_three_extractions_read_is_assembled_as_what_one_read(
    windows: dict[str, list[Path]], group: FeatureGroup, tmp_path: Path
) -> None:
    parts = {
        name: assemble.run(folders, group, tmp_path / name / "training", tmp_path / name / "held_out")
        for name, folders in windows.items()
    }
    assert parts["three"] == parts["one"]
    assert parts["one"][0].pod_rows > 1000
    assert parts["one"][0].set_apart
    one, three = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in files(tmp_path / name)} for name in windows
    )
    assert three == one


def test_what_three_extractions_read_adds_up_to_what_one_read(windows: dict[str, list[Path]], tmp_path: Path) -> None:
    for name, folders in windows.items():
        assemble.run(folders, FeatureGroup.KUBELET_ONLY, tmp_path / "training", tmp_path / name)
    (whole,) = windows["one"]
    summary = WindowSummary.read(whole / SUMMARY_FILE)
    assert summary.set_apart
    assert WindowSummary.read(tmp_path / "one" / SUMMARY_FILE) == summary
    assert WindowSummary.read(tmp_path / "three" / SUMMARY_FILE) == summary


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
