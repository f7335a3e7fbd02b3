"""The safe form of a model answers as its pickles do, and nothing but scikit-learn's own is built from it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import skops.io

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.models import MODEL_FOLDER, SAFE_FILE
from kepler_train.estimators.d351cbf import load
from kepler_train.train import registry, step
from kepler_train.train.safe_form import load_safe_form

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
    (tmp_path / "out" / SAFE_FILE).replace(tmp_path / "out" / MODEL_FOLDER / SAFE_FILE)
    request = request_of(candidate.features)
    safe = load_safe_form(tmp_path / "out" / MODEL_FOLDER, name)
    pickled = load(tmp_path / "out" / MODEL_FOLDER, name)
    assert safe.powers(request) == pickled.powers(request)
    assert max(safe.powers(request)) > 0


class Trap:
    """Leaves a file when it is built."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)

    def __setstate__(self, state):
        Path(state["path"]).mkdir()


def test_a_form_with_other_types_is_refused_by_name_and_builds_nothing(part_of, tmp_path):
    step.run(part_of(FeatureGroup.COUNTER_ONLY), "CounterOnly/linear", tmp_path / "out")
    folder = tmp_path / "out" / MODEL_FOLDER
    trapped = {"transformers": [Trap(str(tmp_path / "built"))], "model": None}
    for content in (skops.io.dumps(trapped), b"", b"PK\x05\x06", b"\x80\x04N."):
        (folder / SAFE_FILE).write_bytes(content)
        with pytest.raises(NotLoadable, match=r"cannot load .*model\.skops"):
            load_safe_form(folder, "linear")
    assert not (tmp_path / "built").exists()


def test_keras_models_have_none(tmp_path):
    from types import SimpleNamespace

    from kepler_train.train.safe_form import write_safe_form

    (tmp_path / SAFE_FILE).write_bytes(b"of an earlier fit")
    write_safe_form(SimpleNamespace(scaler=None, transformers={}, model=None), "keras", tmp_path)
    assert not (tmp_path / SAFE_FILE).exists()
