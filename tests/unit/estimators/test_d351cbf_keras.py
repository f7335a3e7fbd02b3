from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from kepler_train.contract.errors import NotLoadable
from kepler_train.estimators import d351cbf
from kepler_train.estimators.stock import require_stock
from tests.unit.estimators.models import COUNTERS, unscaled

keras = pytest.importorskip("keras")

ROWS = np.arange(210.0).reshape(70, 3)


def write_keras_model(folder, *layers, dtype="float64", compiled=False):
    folder.mkdir(parents=True)
    model = keras.Sequential([keras.layers.Input((3,), dtype=dtype), *layers])
    if compiled:
        model.compile(loss="mse")
    model.save(folder / "model.h5", include_optimizer=compiled)
    (folder / "scaler.pkl").write_bytes(pickle.dumps(unscaled()))
    metadata = {
        "model_name": folder.name,
        "model_class": "keras",
        "model_file": "model.h5",
        "features": list(COUNTERS),
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


def summing(dtype="float64"):
    return keras.layers.Dense(1, kernel_initializer="ones", use_bias=False, dtype=dtype)


def flat():
    return keras.layers.Reshape((), dtype="float64")


def test_a_float64_model_that_ends_in_one_dimension_answers(tmp_path):
    model = d351cbf.load(write_keras_model(tmp_path / "net", summing(), flat()))
    assert model.powers(ROWS) == pytest.approx(list(ROWS.sum(axis=1)))
    assert model.powers(ROWS[:1]) == pytest.approx([3.0])
    np.testing.assert_allclose(model.power_array(ROWS), ROWS.sum(axis=1))


def test_many_rows_are_scored_as_an_estimator_answers(tmp_path):
    layers = keras.layers.Dense(8, activation="relu", dtype="float64"), summing(), flat()
    model = d351cbf.load(write_keras_model(tmp_path / "net", *layers))
    rows = np.random.default_rng(1).uniform(0, 1e9, (9_000, 3))
    np.testing.assert_allclose(model.power_array(rows), model.powers(rows), rtol=1e-14)


def test_a_column_of_outputs_kills_the_connection(tmp_path):
    model = d351cbf.load(write_keras_model(tmp_path / "net", summing()))
    with pytest.raises(NotLoadable, match=r"shape \(70, 1\).*connection would die"):
        model.powers(ROWS)


def test_single_precision_kills_the_connection(tmp_path):
    single = keras.layers.Reshape((), dtype="float32")
    model = d351cbf.load(write_keras_model(tmp_path / "net", summing("float32"), single, dtype="float32"))
    with pytest.raises(NotLoadable, match="float32"):
        model.powers(ROWS)


def test_a_model_saved_with_its_compile_state_does_not_load(tmp_path):
    written = write_keras_model(tmp_path / "net", summing(), flat(), compiled=True)
    with pytest.raises(NotLoadable, match=r"model\.h5.*answer no powers"):
        d351cbf.load(written)


def test_a_file_that_is_no_keras_model_does_not_load(tmp_path):
    written = write_keras_model(tmp_path / "net", summing(), flat())
    (written / "model.h5").write_bytes(b"not hdf5")
    with pytest.raises(NotLoadable, match=r"model\.h5"):
        d351cbf.load(written)


@keras.saving.register_keras_serializable(package="mine")
class OwnDense(keras.layers.Dense):
    pass


@keras.saving.register_keras_serializable(package="mine")
def own_activation(rows):
    return rows


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda: OwnDense(1), "mine>OwnDense"),
        (lambda: keras.layers.Dense(1, activation=own_activation), "mine>own_activation"),
        (lambda: keras.layers.Lambda(own_activation), "a Lambda layer"),
    ],
)
def test_what_only_its_author_has_is_no_stock_model(tmp_path, layer, said):
    folder = write_keras_model(tmp_path / "net", layer())
    with pytest.raises(NotLoadable, match=f"model.h5 holds {said}, which no estimator has"):
        require_stock(folder, "net")


def test_layers_of_keras_are_a_stock_model(tmp_path):
    constrained = keras.layers.Dense(1, activation="relu", kernel_constraint=keras.constraints.NonNeg(), name="of-3")
    require_stock(write_keras_model(tmp_path / "net", constrained, flat()), "net")
