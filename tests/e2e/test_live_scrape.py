"""A real Prometheus scrapes the live simulator every 3 s; the whole workflow runs on what it stored."""

from __future__ import annotations

import itertools
import time
from datetime import datetime, timezone

import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.held_out import BLOCK_SECONDS, is_held_out
from kepler_train.contract.tables import POD_STAT
from kepler_train.contract.window import SUMMARY_FILE, WindowSummary
from kepler_train.simulate.exporter import scrape_configuration, serving
from kepler_train.simulate.spec import SimulationSpec
from tests.e2e.command import kepler_train
from tests.prometheus_server import PrometheusServer

NODES, PODS_PER_NODE = 2, 8


def end_of_a_window_with_both_parts(start: int) -> int:
    """The first moment at which a whole held-out block and a whole training block lie behind `start`."""
    seen = set()
    for block in itertools.count(-(-start // BLOCK_SECONDS) * BLOCK_SECONDS, BLOCK_SECONDS):
        seen.add(is_held_out(block))
        if seen == {True, False}:
            return block + BLOCK_SECONDS + 3
    raise AssertionError


@pytest.mark.e2e
def test_the_workflow_runs_on_a_live_scrape(tmp_path):
    spec = SimulationSpec(seed=5, nodes=NODES, pods_per_node=PODS_PER_NODE, faults=False)
    with serving(spec, 0) as addresses:
        configuration = scrape_configuration(addresses)
        jobs = configuration[configuration.index("  - job_name") :].replace(
            "job_name: kepler-exporter", "job_name: kepler-exporter\n    scrape_interval: 3s"
        )
        with PrometheusServer(tmp_path / "data", scrape_configs=jobs) as prometheus:
            start = int(time.time()) + 5
            end = end_of_a_window_with_both_parts(start)
            time.sleep(max(0, end + 2 - time.time()))
            span = [datetime.fromtimestamp(moment, timezone.utc).isoformat() for moment in (start, end)]
            words = ["run", "--source", "prometheus", prometheus.url, "--start", span[0], "--end", span[1]]
            done = kepler_train(*words, folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    assert {name.split("/")[0] for name in done.decisions()} == {group.value for group in FeatureGroup}
    assert not any(decision["failed"] for decision in done.decisions().values())
    summary = WindowSummary.read(next(tmp_path.rglob(SUMMARY_FILE)))
    assert len(summary.nodes) == NODES
    assert summary.missing_metrics == ()
    scrapes = (end - start) / 3
    assert summary.rows[POD_STAT] == pytest.approx(scrapes * NODES * PODS_PER_NODE, rel=0.15)
