from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import MODEL_FOLDER
from kepler_train.contract.parts import interval_batches, read_part
from kepler_train.estimators.d351cbf import load
from kepler_train.train import registry, step
from kepler_train.train.conformance import check

SHIPPED = [entry for group in FeatureGroup for entry in registry.pipelines_of(group)]
GUIDELINE = Path(__file__).parents[3] / "docs" / "define-a-pipeline.md"


def failed(target, **options):
    return {found.name: found.detail for found in check(target, **options) if not found.passed}


@pytest.mark.parametrize("entry", [e for e in SHIPPED if "keras" not in e.model_name], ids=str)
def test_shipped_scikit_pipelines_pass(entry, part_of):
    assert failed(entry.target, training_part=part_of(entry.group)) == {}


def test_a_shipped_keras_pipeline_passes(part_of):
    target = "kepler_train.train.shipped:FullConcaveKeras"
    assert failed(target, training_part=part_of(FeatureGroup.FULL)) == {}


@pytest.mark.parametrize("entry", [e for e in SHIPPED if "keras" in e.model_name], ids=str)
def test_shipped_keras_pipelines_leave_what_an_estimator_can_use(entry, part_of, tmp_path):
    part = part_of(entry.group)
    assert step.train(part, read_part(part), entry, tmp_path / "out").reason == ""


def test_a_keras_and_a_scikit_pipeline_of_one_name_answer_alike(part_of, tmp_path):
    part = part_of(FeatureGroup.FULL)
    request = next(interval_batches(part)).request()[:50]
    answers = []
    for name in ("concave", "concave-keras"):
        step.train(part, read_part(part), registry.find(f"Full/{name}"), tmp_path / name)
        answers.append(load(tmp_path / name / MODEL_FOLDER, name).powers(request))
    assert answers[1] == pytest.approx(answers[0], rel=1e-6)  # Keras' predict rounds its input to float32


@pytest.mark.parametrize(
    ("name", "check_name", "remedy"),
    [
        ("Raises", "trains and leaves a model", "ZeroDivisionError"),
        ("NotANumber", "trains and leaves a model", "NaN"),
        ("KnowsWhatItSaw", "answers as an estimator needs", "NaN"),
        ("GivesToTheIdle", "gives nothing to a pod that does nothing", "without an intercept"),
        ("LooksAround", "gives each pod the same", "each row alone"),
        ("Unrepeatable", "gives the same when trained again", "random seeds"),
        ("FailsTheSecondTime", "gives the same when trained again", "the second time, "),
        ("NamedAsOneShipped", "has a name that no other", "shipped:CounterConcave of kepler-train; choose another"),
        ("InJoules", "adds up over pods", "idle energy in Fitted"),
        ("InJoules", "leaves each node an idle energy", "mJ per interval"),
    ],
)
def test_what_is_wrong_with_a_class_is_found_and_a_remedy_given(name, check_name, remedy):
    found = failed(f"tests.unit.train.authors:{name}")
    details = [detail for check_, detail in found.items() if check_.startswith(check_name)]
    assert details
    assert remedy in details[0]


def test_a_class_that_fails_is_trained_once(capfd):
    handler = logging.StreamHandler()  # a copy of this process writes to it, too
    logging.getLogger("kepler_train").addHandler(handler)
    failed("tests.unit.train.authors:Raises")
    logging.getLogger("kepler_train").removeHandler(handler)
    assert capfd.readouterr().err.count("return 1 / 0") == 1


def test_a_class_that_ends_its_process_is_said_to_do_so():
    script = (
        "from kepler_train.train.conformance import check; print(check('tests.unit.train.authors:EndsItsProcess')[-1])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert "passed=False" in done.stdout
    assert "its process exited with code 3; raise an error instead" in done.stdout


@pytest.mark.parametrize("target", ["tests.unit.train.authors:Nobody", "nowhere:Mine", "Mine", "math:pi"])
def test_what_is_no_class_is_said_to_be_none(target):
    [(name, detail)] = failed(target).items()
    assert name.startswith("declares")
    assert detail


def test_a_module_that_ends_the_interpreter_is_said_to_do_so(tmp_path, monkeypatch):
    (tmp_path / "exits_when_imported.py").write_text("import sys; sys.exit(0)", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    [detail] = failed("exits_when_imported:Mine").values()
    assert detail == "cannot import exits_when_imported:Mine: SystemExit: 0"


def test_the_guidelines_example_passes(tmp_path, monkeypatch):
    [example] = re.findall(r"```python\n(.*?)```", GUIDELINE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "guideline_example.py").write_text(example, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    target = "guideline_example:PositiveLinear"
    assert failed(target) == {}
    assert len(check(target)) >= 9


def test_the_guideline_lists_the_features_of_every_group():
    text = GUIDELINE.read_text(encoding="utf-8")
    for group in FeatureGroup:
        assert f"`{group.value}`" in text
        assert all(f"`{feature}`" in text for feature in group.features)
