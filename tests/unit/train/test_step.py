from __future__ import annotations

import json
import pickletools
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kepler_train.contract.errors import BrokenContract, WrongUsage
from kepler_train.contract.evidence import IdleSource
from kepler_train.contract.features import COUNTER_FEATURES, FeatureGroup
from kepler_train.contract.models import LOG_FILE, MODEL_FOLDER, read_candidate
from kepler_train.contract.parts import interval_batches, read_part
from kepler_train.estimators.d351cbf import load
from kepler_train.train import step
from kepler_train.train.registry import Entry
from tests.unit.train import authors

COUNTERS = FeatureGroup.COUNTER_ONLY


@pytest.fixture
def train(part_of, tmp_path):
    """Trains an author's class on a synthetic part of counters."""

    def give(name: str):
        part = part_of(COUNTERS)
        model_name = getattr(authors, name).model_name if hasattr(authors, name) else "missing"
        entry = Entry(COUNTERS, model_name, f"tests.unit.train.authors:{name}")
        return step.train(part, read_part(part), entry, tmp_path / "out")

    return give


def test_a_shipped_pipeline_makes_a_described_candidate(part_of, tmp_path):
    part = part_of(COUNTERS)
    candidate = step.run(part, "CounterOnly/concave", tmp_path / "out")
    described = read_part(part)
    assert read_candidate(tmp_path / "out") == candidate
    assert (candidate.status, candidate.reason) == ("trained", "")
    assert (candidate.group, candidate.model_name, candidate.features) == (COUNTERS, "concave", COUNTER_FEATURES)
    assert candidate.trained_on == {
        "pod_rows": described.pod_rows,
        "node_intervals": described.node_intervals,
        "blocks": described.blocks,
    }
    assert set(candidate.idle_millijoules) == {"node1", "node2"}
    for node, evidence in candidate.idle_evidence.items():
        assert evidence.low_millijoules <= candidate.idle_millijoules[node] <= evidence.high_millijoules
        assert evidence.source is IdleSource.QUIET
    assert {"python", "numpy", "sklearn"} <= set(candidate.runtime)
    assert candidate.train_seconds > 0
    assert "done" in (tmp_path / "out" / LOG_FILE).read_text()


def test_metadata_holds_only_the_estimators_keys_and_pickles_are_readable_by_old_pythons(part_of, tmp_path):
    step.run(part_of(COUNTERS), "CounterOnly/concave", tmp_path / "out")
    folder = tmp_path / "out" / MODEL_FOLDER
    assert set(json.loads((folder / "metadata.json").read_text())) == {
        "model_name",
        "model_class",
        "model_file",
        "features",
        "fe_files",
    }
    for name in ("scaler.pkl", "model.sav"):
        protocols = [
            value for code, value, _ in pickletools.genops((folder / name).read_bytes()) if code.name == "PROTO"
        ]
        assert protocols == [4]
        assert b"kepler_train" not in (folder / name).read_bytes()


def test_an_authors_class_trains_with_its_own_order_of_features(train, part_of, tmp_path):
    candidate = train("Counters")
    assert candidate.features == COUNTER_FEATURES[::-1]
    assert candidate.trained_on["pod_rows"] == read_part(part_of(COUNTERS)).pod_rows
    batch = next(interval_batches(part_of(COUNTERS)))
    powers = load(tmp_path / "out" / MODEL_FOLDER, "counters").power_array(batch.pods[:, ::-1])
    total = batch.sum_over_pods(powers) + candidate.idle_of(batch.node)
    assert abs(total / batch.energy_millijoules - 1).mean() < 0.02


def test_a_class_that_takes_few_rows_gets_a_sample_and_it_is_said(train):
    candidate = train("Small")
    assert candidate.trained_on["pod_rows"] <= 500
    assert any("sampled" in note for note in candidate.notes)


def test_a_streaming_class_gets_its_idle_energies_estimated(train):
    candidate = train("Streams")
    assert candidate.status == "trained"
    assert set(candidate.idle_millijoules) == set(candidate.idle_evidence) == {"node1", "node2"}
    assert any("idle" in note for note in candidate.notes)


@pytest.mark.parametrize("name", ["GivesANote", "GivesNotes"])
def test_notes_are_one_sentence_or_several(train, name):
    assert train(name).notes == ("few samples",)


def test_a_class_may_write_the_estimators_files_itself(train):
    candidate = train("WritesItself")
    assert (candidate.status, candidate.reason) == ("trained", "")
    assert set(candidate.idle_millijoules) == {"node1", "node2"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Raises", "ZeroDivisionError: division by zero"),
        ("Exits", "SystemExit: enough"),
        ("RaisesWithoutText", "NoText: its message cannot be had: RuntimeError"),
        ("RaisesBrokenText", "ValueError: no such file:; \\udcff"),
        ("ReadsSomethingElse", "part.json: No such file or directory; was the step before this one run?"),
        ("GivesABrokenNote", "surrogates not allowed"),
        ("GivesNoNumberAsIdle", "idle_millijoules of Fitted is nan for node1, nan for node2; give finite numbers"),
        ("GivesNoEvidence", "idle_evidence of Fitted is (1.0, 2.0) for node1; give IdleEvidence, of finite numbers"),
        ("GivesEndlessEvidence", "for node1; give IdleEvidence, of finite numbers"),
        ("OfNumpy", "is not a sequence of names"),
        ("OfNoGroup", "; BPFOnly: curr_cpu_time; KubeletOnly: container_cpu_usage_seconds_total"),
        ("WritesNothing", "wrote no model"),
        ("WritesOtherFile", "but no model.sav"),
        ("SaysOtherwise", "says other than the class declares"),
        ("LeavesAFolder", "train left __pycache__ in self.model_folder, which holds plain files only"),
        ("LeavesALink", "train left latest in self.model_folder, which holds plain files only"),
        ("KeepsAFolderAsModel", "train left model.sav in self.model_folder, which holds plain files only"),
        ("LeavesNotes", "train left provenance.json in self.model_folder, which metadata.json does not name"),
        ("NamesATransformerAsTheStoreDoes", "a transformer cannot be kept as 'provenance.json'"),
        ("CallsItselfAnother", "train made CounterOnly/calls-itself-another call itself CounterOnly/concave, whose"),
        ("NotANumber", "predicts NaN or infinity"),
        ("KeepsALambda", "scaler.pkl cannot be pickled"),
        ("KeepsAnOwnClass", "model.sav holds tests.unit.train.authors.OwnRegressor, which no estimator has"),
        ("KeepsAnOwnFunction", "own.pkl holds tests.unit.train.authors.unchanged, which no estimator has"),
        ("Missing", "cannot import"),
    ],
)
def test_a_class_that_fails_is_a_recorded_result(train, tmp_path, name, said):
    candidate = train(name)
    assert candidate.status == "failed"
    assert said in candidate.reason
    assert name in candidate.reason
    assert "\n" not in candidate.reason
    assert "Traceback" in (tmp_path / "out" / LOG_FILE).read_text()
    assert not (tmp_path / "out" / MODEL_FOLDER).exists()
    assert read_candidate(tmp_path / "out") == candidate


STEP = """
import sys
from pathlib import Path
from kepler_train.contract.features import FeatureGroup
from kepler_train.train import step
from kepler_train.train.registry import Entry
from tests.unit.train import authors
name, part, out = sys.argv[1:]
entry = Entry(FeatureGroup.COUNTER_ONLY, getattr(authors, name).model_name, f"tests.unit.train.authors:{name}")
step.registry.find = lambda pipeline: entry
step.run(Path(part), str(entry), Path(out))
"""


@pytest.fixture
def start_step(part_of, tmp_path):
    """Starts the step for an author's class in a process of its own: one in which TensorFlow was used makes no copy."""
    started = []

    def give(name: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", STEP, name, str(part_of(COUNTERS)), str(tmp_path / "out")]
        started.append(subprocess.Popen(words))
        return started[-1]

    yield give
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("EndsItsProcess", "its process exited with code 3"),
        ("IsKilled", "its process was ended by signal 9; out of memory?"),
        ("TakesTooLong", "its process was ended by signal 24"),
    ],
)
def test_a_class_that_ends_its_process_is_a_recorded_result(start_step, tmp_path, name, said):
    assert start_step(name).wait(timeout=120) == 0
    candidate = read_candidate(tmp_path / "out")
    assert (candidate.status, candidate.reason) == ("failed", f"tests.unit.train.authors:{name}: {said}")
    log = (tmp_path / "out" / LOG_FILE).read_text()
    assert log.rstrip().endswith(f"failed: {said}")
    assert ("about to end" in log) == (name == "EndsItsProcess")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_whoever_ends_the_step_ends_the_training(start_step, tmp_path, sent):
    log = tmp_path / "out" / LOG_FILE
    task = start_step("Waits")
    training = None
    while training is None:
        time.sleep(0.05)
        training = re.search(r"^process (\d+)$", log.read_text() if log.is_file() else "", re.MULTILINE)
    assert int(training[1]) != task.pid
    task.send_signal(sent)
    assert task.wait(timeout=10)
    for _ in range(100):
        if not Path("/proc", training[1]).exists():
            break
        time.sleep(0.05)
    assert not Path("/proc", training[1]).exists()


def test_what_a_class_prints_is_in_the_log(train, tmp_path, capsys):
    train("Raises")
    assert "about to divide" in (tmp_path / "out" / LOG_FILE).read_text()
    assert "about to divide" not in capsys.readouterr().out


def test_wrong_calls_are_errors_of_the_caller(part_of, tmp_path):
    with pytest.raises(WrongUsage, match="there are CounterOnly/linear"):
        step.run(part_of(COUNTERS), "CounterOnly/concaev", tmp_path / "out")
    with pytest.raises(WrongUsage, match="assemble BPFOnly"):
        step.run(part_of(COUNTERS), "BPFOnly/linear", tmp_path / "out")


def test_a_damaged_part_is_no_failure_of_the_class(part_of, tmp_path):
    part = tmp_path / "part"
    shutil.copytree(part_of(COUNTERS), part)
    pods = next(iter((part / "shards").iterdir())) / "pod_stat_data.parquet"
    pq.write_table(pq.read_table(pods), pods, row_group_size=10)
    with pytest.raises(BrokenContract, match="differ in row groups"):
        step.run(part, "CounterOnly/concave", tmp_path / "out")
