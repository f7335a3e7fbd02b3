"""A real Kepler's recordings, from extraction to decision."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from kepler_train.assemble import step as assemble
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.parts import interval_batches
from kepler_train.contract.window import RecordingSource, Window
from kepler_train.evaluate.step import run
from kepler_train.extract import step as extract
from tests.unit.estimators.models import linear
from tests.unit.evaluate.candidates import write_candidate

pytestmark = pytest.mark.recordings


@pytest.fixture(scope="module")
def window(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "window"
    source = RecordingSource(files=(str(recordings["coremark"]), str(recordings["idle"])))
    extract.run(Window(run_id="run", source=source), folder)
    return folder


def linear_candidate(training, folder, group):
    """Fit non-negative coefficients and one idle to node sums, by relative error."""
    batches = list(interval_batches(training))
    sums = np.vstack([batch.sum_over_pods(batch.pods) for batch in batches])
    energy = np.concatenate([batch.energy_millijoules for batch in batches])
    columns = np.column_stack([sums, np.ones(len(sums))])
    scale = np.maximum(columns.max(axis=0), 1)
    *coefficients, idle = nnls(columns / scale / energy[:, np.newaxis], np.ones(len(energy)))[0] / scale
    return write_candidate(folder, linear(coefficients), group=group, idle=float(idle))


def decide(window, folder, group):
    parts = assemble.run([window], group, folder / "training", folder / "held_out")
    candidate = linear_candidate(folder / "training", folder / "candidate", group)
    return *parts, run(candidate, folder / "held_out", str(folder / "store"), folder / "decision")


def test_counters_tell_a_real_nodes_power(window, tmp_path):
    training, held_out, decision = decide(window, tmp_path, FeatureGroup.COUNTER_ONLY)
    assert (training.node_intervals, held_out.node_intervals) == (511, 199)
    assert training.set_apart == {"no_energy": 4, "gap_beside_held_out": 10}
    assert training.nodes["node1"].cpu_architecture == "Broadwell"
    assert decision.improved
    assert decision.candidate.mape_percent < 20


def test_kubelet_features_carry_no_signal_here_and_it_is_said(window, tmp_path):
    *_, decision = decide(window, tmp_path, FeatureGroup.KUBELET_ONLY)
    assert not decision.improved
    assert not decision.failed
    assert "almost no signal here" in decision.reason


def test_package_energies_are_what_the_exporter_itself_adds_up(window, tmp_path):
    assemble.run([window], FeatureGroup.BPF_ONLY, tmp_path / "training", tmp_path / "held_out")
    from_packages = np.concatenate([batch.energy_millijoules for batch in interval_batches(tmp_path / "training")])
    for table in window.glob("shards/*/pkg_data.parquet"):
        table.unlink()
    training, _ = assemble.run([window], FeatureGroup.BPF_ONLY, tmp_path / "by label", tmp_path / "held out by label")
    assert training.notes
    by_label = {
        time: energy
        for batch in interval_batches(tmp_path / "by label")
        for time, energy in zip(batch.timestamp_milliseconds, batch.energy_millijoules, strict=True)
    }
    times = np.concatenate([batch.timestamp_milliseconds for batch in interval_batches(tmp_path / "training")])
    np.testing.assert_allclose(from_packages, [by_label[time] for time in times], rtol=1e-9)
