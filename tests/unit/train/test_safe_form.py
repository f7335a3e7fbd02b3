"""The safe form of a model answers as its pickles do, and holds nothing but scikit-learn's and NumPy's own."""

from __future__ import annotations

import numpy as np
import pytest
import skops.io

from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.models import MODEL_FOLDER, SAFE_FILE
from kepler_train.estimators.d351cbf import Model, load
from kepler_train.train import registry, step
from kepler_train.train.pipeline import Fitted
from kepler_train.train.safe_form import write_safe_form
from tests.unit.estimators.models import Keeps, linear, unscaled

SCIKIT = [
    f"{group.value}/{entry.model_name}"
    for group in FeatureGroup
    for entry in registry.pipelines_of(group)
    if entry.load().model_class == "scikit"
]


def request_of(features: tuple[str, ...], rows: int = 50):
    numbers = np.random.default_rng(1).gamma(1.0, 300.0, (rows, len(features)))
    numbers[0] = 0.0
    if ARCHITECTURE not in features:
        return numbers
    request = numbers.astype(object)
    names = ["Sandy Bridge", "never seen", "Haswell"]
    request[:, features.index(ARCHITECTURE)] = [names[row % 3] for row in range(rows)]
    return request


@pytest.mark.parametrize("pipeline", SCIKIT)
def test_every_shipped_scikit_model_answers_alike_from_both_forms(part_of, tmp_path, pipeline):
    group, _, name = pipeline.partition("/")
    candidate = step.run(part_of(FeatureGroup(group)), pipeline, tmp_path / "out")
    assert candidate.status == "trained", candidate.reason
    request = request_of(candidate.features)
    pickled = load(tmp_path / "out" / MODEL_FOLDER, name)
    parts = skops.io.load(tmp_path / "out" / SAFE_FILE)  # refuses types that are not trusted by default
    safe = Model(pickled.metadata, tuple(parts["transformers"]), parts["model"])
    assert safe.powers(request) == pickled.powers(request)
    assert max(safe.powers(request)) > 0


def test_a_model_with_other_types_has_none(tmp_path):
    parts = {"model": linear([1.0, 1.0, 1.0]), "scaler": Keeps()}
    write_safe_form(Fitted(**parts | {"scaler": unscaled()}), "scikit", tmp_path)
    assert (tmp_path / SAFE_FILE).exists()
    write_safe_form(Fitted(**parts), "scikit", tmp_path)
    assert not (tmp_path / SAFE_FILE).exists()


def test_keras_models_have_none(tmp_path):
    (tmp_path / SAFE_FILE).write_bytes(b"of an earlier fit")
    write_safe_form(Fitted(scaler=None, model=None), "keras", tmp_path)
    assert not (tmp_path / SAFE_FILE).exists()
