"""An exporter without hardware counters: the groups that need them fail by name, and the others go on."""

from __future__ import annotations

import numpy as np

from kepler_train.assemble import step as assemble
from kepler_train.contract.features import COUNTER_FEATURES, FeatureGroup
from kepler_train.contract.tables import POD_STAT
from kepler_train.evaluate import step as evaluate
from kepler_train.report import step as report
from kepler_train.train import step as train
from tests.unit.assemble.windows import steady_node, write_window


def test_a_group_whose_features_are_not_written_is_a_failed_candidate_that_says_so(tmp_path):
    frames = steady_node()
    frames.tables[POD_STAT][list(COUNTER_FEATURES)] = np.nan
    window = write_window(tmp_path / "window", frames)
    bpf, _ = assemble.run([window], FeatureGroup.BPF_ONLY, tmp_path / "bpf", tmp_path / "bpf_held_out")
    assert bpf.node_intervals

    counters, _ = assemble.run([window], FeatureGroup.COUNTER_ONLY, tmp_path / "training", tmp_path / "held_out")
    assert counters.node_intervals == 0
    candidate = train.run(tmp_path / "training", "CounterOnly/linear", tmp_path / "candidate")
    assert candidate.status == "failed"
    assert "this exporter does not write every feature of the group" in candidate.reason
    decision = evaluate.run(
        tmp_path / "candidate", tmp_path / "held_out", str(tmp_path / "models"), tmp_path / "decision"
    )
    assert decision.failed
    assert not decision.improved
    pages = {"html": tmp_path / "report.html", "markdown": tmp_path / "report.md"}
    record = report.run([tmp_path / "decision"], [tmp_path / "held_out"], str(tmp_path / "models"), **pages)
    assert record.failed == ("CounterOnly/linear",)
    assert "does not write every feature" in pages["html"].read_text()
