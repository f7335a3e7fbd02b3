"""Several extractions of one window: each node is in one of them, and one may have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from kepler_train.contract.errors import NoData, WrongUsage
from kepler_train.contract.window import WindowSummary, shards_of
from kepler_train.extract import step
from kepler_train.extract.share import Share
from tests.prometheus_server import PrometheusServer
from tests.unit.extract.cluster import Cluster, asked, recorded, rows_of

pytestmark = pytest.mark.usefixtures("clean_environment")

SHARES = [Share(number, 4) for number in (1, 2, 3, 4)]


def test_each_node_is_in_one_share_the_same_everywhere_and_shares_are_alike() -> None:
    names = [f"worker-{number}.example:9102" for number in range(400)]
    held = [[name for name in names if share.holds(name)] for share in SHARES]
    assert sorted(name for share in held for name in share) == sorted(names)
    assert all(75 < len(share) < 125 for share in held)
    # What a node's share is must not change: the extractions of a run may be of two versions.
    assert [Share(number, 3).holds("node-b:9102") for number in (1, 2, 3)] == [False, False, True]


@pytest.mark.parametrize(("number", "of"), [(0, 1), (2, 1), (4, 3), (1, 0), (-1, -1)])
def test_a_share_that_cannot_be_is_refused(number: int, of: int) -> None:
    with pytest.raises(WrongUsage, match=f"no share {number} of {of}"):
        Share(number, of)


@pytest.mark.prometheus
def test_shares_of_a_prometheus_hold_what_the_whole_holds_each_once(
    served_cluster: PrometheusServer, cluster_window: tuple[str, str], tmp_path: Path
) -> None:
    window = asked(served_cluster.url, *cluster_window)
    check_shares(window, tmp_path)


def test_shares_of_a_recording_hold_what_the_whole_holds_each_once(cluster: Cluster, tmp_path: Path) -> None:
    check_shares(recorded(cluster.write(tmp_path / "recording.json")), tmp_path)


def check_shares(window, folder):
    """Compare the shares of a window of node-a and node-b:9102 with its whole."""
    whole = step.run(window, folder / "whole")
    summaries = [step.run(window, folder / str(share.number), share) for share in SHARES]
    rows = {table: [] for table in rows_of(folder / "whole")}
    for share in SHARES:
        for table, of_share in rows_of(folder / str(share.number)).items():
            rows[table] += of_share
            assert all(share.holds(row["node"]) for row in of_share)

    def by_node(table_rows):
        return sorted(table_rows, key=lambda row: row["node"])

    assert {table: by_node(of_table) for table, of_table in rows.items()} == rows_of(folder / "whole")
    assert sorted(summary.nodes for summary in summaries) == [(), (), ("node-a",), ("node-b:9102",)]
    assert {summary.spans for summary in summaries} == {(), whole.spans}
    empty = next(summary for summary in summaries if not summary.nodes)
    assert not any(empty.rows.values())


def test_a_source_without_any_node_is_refused_by_every_share(tmp_path: Path) -> None:
    window = recorded(Cluster(nodes=()).write(tmp_path / "recording.json"))
    for share in SHARES:
        with pytest.raises(NoData, match="no samples of pod_energy_stat"):
            step.run(window, tmp_path / str(share.number), share)


def test_one_share_with_all_nodes_tells_what_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    cluster = Cluster(nodes=("node-a",))
    del cluster.series["node_energy_stat"], cluster.series["node_package_energy_millijoule"]
    window = recorded(cluster.write(tmp_path / "recording.json"))
    for share in SHARES:
        out = tmp_path / str(share.number)
        if share.holds("node-a"):
            with pytest.raises(NoData, match="no samples of node_energy_stat or node_package_energy_millijoule"):
                step.run(window, out, share)
        else:
            step.run(window, out, share)
            assert WindowSummary.read(out / "window.json").nodes == ()


def test_an_extraction_goes_on_in_its_own_share_only(cluster: Cluster, tmp_path: Path) -> None:
    window = recorded(cluster.write(tmp_path / "recording.json"))
    of_a, of_b = (next(share for share in SHARES if share.holds(node)) for node in cluster.nodes)
    first = step.run(window, tmp_path / "out", of_a)
    assert step.run(window, tmp_path / "out", of_a) == first
    with pytest.raises(WrongUsage, match=f"holds node-a, which is not in share {of_b.number} of 4"):
        step.run(window, tmp_path / "out", of_b)
    assert [shard.name.partition("@")[0] for shard in shards_of(tmp_path / "out")] == ["node-a"]
