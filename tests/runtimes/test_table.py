"""Runtime x dialect x model class x feature group: each made, loaded and answering with its runtime's real libraries.

The interpreters are made once a machine, in the cache. What is made for the estimators' images is also read by the
Python 3.8 and the libraries that they have.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from kepler_train.contract.errors import NoInterpreter
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import MODEL_CLASSES, flat_name
from kepler_train.contract.runtimes import RUNTIMES, Runtime
from kepler_train.estimators.archive import ABS_POWER, DYN_POWER
from kepler_train.estimators.model_folder import D351CBF
from kepler_train.train.registry import pipelines_of
from kepler_workflow import interpreters
from tests.conftest import missing

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HERE = Path(__file__).parent
DIALECTS = (D351CBF, DYN_POWER, ABS_POWER)
IMAGE = Runtime("estimator-image", image="", python="3.8", lock=str(HERE / "estimator-image.lock"))
"""What the published images run, with the older of the Pythons at hand."""


@pytest.fixture(scope="module", params=RUNTIMES)
def made(request, tmp_path_factory):
    """A folder with the models of all shipped pipelines, and what they answer in the runtime they were made in."""
    folder = tmp_path_factory.mktemp(request.param)
    try:
        python = interpreters.interpreter_of(RUNTIMES[request.param])
    except NoInterpreter as cause:
        missing(str(cause))
    for words in (["train", folder, request.param], ["answer", folder]):
        run(python, folder, HERE / "models.py", *words)
    return folder


@pytest.fixture(scope="module")
def answers(made):
    return json.loads((made / "answers.json").read_text())


def run(python, folder, *words):
    library = folder / "library"
    path = library if library.is_dir() else interpreters.library_path(library)
    environment = {**os.environ, "PYTHONPATH": str(path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run([python, *map(str, words)], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_every_group_has_both_model_classes(answers):
    assert set(answers) == {
        flat_name(group, entry.model_name) for group in FeatureGroup for entry in pipelines_of(group)
    }
    classes = {(name.split("-")[0], answer["model_class"]) for name, answer in answers.items()}
    assert classes == {(group.value, model_class) for group in FeatureGroup for model_class in MODEL_CLASSES}


def test_it_was_made_with_the_versions_of_the_runtime(made, answers):
    runtime = next(runtime for runtime in RUNTIMES.values() if runtime.name in made.name)
    for answer in answers.values():
        versions = answer["runtime"]
        assert {"python", "numpy", "sklearn"} <= versions.keys()
        assert "keras" in versions or answer["model_class"] == "scikit"
        assert all(version.startswith(runtime.versions.get(library, "")) for library, version in versions.items())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_model_answers_in_its_runtime(answers, dialect):
    for name, answer in answers.items():
        powers = answer[dialect]
        if dialect == ABS_POWER:
            assert 50_000 < powers < 1_000_000, name
        else:
            assert len(powers) == 5, name
            assert all(0 <= power < 1_000_000 for power in powers), name
            assert any(powers), name


def test_both_dialects_give_a_pod_the_same(answers):
    for name, answer in answers.items():
        assert answer[DYN_POWER] == pytest.approx(answer[D351CBF], rel=1e-9), name


def test_a_keras_model_answers_as_its_scikit_twin(answers):
    twins = [name for name in answers if f"{name}-keras" in answers]
    assert len(twins) == len(FeatureGroup)
    for name in twins:
        for dialect in DIALECTS:
            assert answers[f"{name}-keras"][dialect] == pytest.approx(answers[name][dialect], rel=1e-4, abs=0.1), name


@pytest.mark.parametrize("made", ["estimator-2022"], indirect=True)
def test_the_estimators_images_read_what_is_made_for_them(made, answers):
    try:
        python = interpreters._made(IMAGE)
    except NoInterpreter as cause:
        missing(str(cause))
    run(python, made, HERE / "python38.py", made)
    read = json.loads((made / "python38.json").read_text())
    assert read.keys() == answers.keys()
    for name, powers in read.items():
        assert set(powers) == set(DIALECTS)
        for dialect in DIALECTS:
            assert powers[dialect] == pytest.approx(answers[name][dialect], rel=1e-9), (name, dialect)
