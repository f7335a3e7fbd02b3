from __future__ import annotations

import functools
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, OneHotEncoder, SplineTransformer

from kepler_train.contract.errors import NotLoadable
from kepler_train.estimators.stock import require_stock
from tests.unit.estimators.models import Keeps, column_means, linear, write_model

STORED = Path(__file__).parents[2] / "golden" / "schema-1" / "store" / "models"
ROWS = np.random.default_rng(0).random((60, 3))
POWERS = ROWS.sum(axis=1)


class Own(LinearRegression):
    """Stock in all but its name."""


def by_category():
    mixed = np.column_stack([ROWS.astype(object), np.full(len(ROWS), "Broadwell")])
    encoder = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("numbers", MaxAbsScaler(), slice(0, 3)), ("category", encoder, [3])]).fit(mixed)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(SplineTransformer(), LinearRegression()).fit(ROWS, POWERS),
        HistGradientBoostingRegressor(max_iter=2).fit(ROWS, POWERS),
        RandomForestRegressor(2, random_state=np.random.RandomState(1)).fit(ROWS, POWERS),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_stock_models_pass_in_every_protocol(tmp_path, model, protocol):
    folder = write_model(tmp_path / "model", model, scaler=by_category(), transformers=[FunctionTransformer(np.log1p)])
    (folder / "model.sav").write_bytes(pickle.dumps(model, protocol=protocol))
    require_stock(folder, "model")


@pytest.mark.parametrize("folder", sorted(STORED.glob("*/*/*")), ids=lambda folder: folder.parent.name)
def test_models_published_long_ago_pass(folder):
    require_stock(folder, folder.parent.name)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"model": Own()}, r"model\.sav holds tests\.unit\.estimators\.test_stock\.Own, which no estimator has"),
        ({"scaler": Keeps()}, r"scaler\.pkl holds tests\.unit\.estimators\.models\.Keeps"),
        ({"transformers": [FunctionTransformer(column_means)]}, r"fe_0\.pkl holds .*\.column_means"),
        ({"transformers": [FunctionTransformer(functools.partial(eval))]}, r"fe_0\.pkl holds builtins\.eval"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_an_estimator_has_not_is_named_with_its_file(tmp_path, parts, said, protocol):
    folder = write_model(tmp_path / "model", **{"model": linear([1.0, 1.0, 1.0]), **parts})
    for file in (*folder.glob("*.pkl"), folder / "model.sav"):
        file.write_bytes(pickle.dumps(pickle.loads(file.read_bytes()), protocol=protocol))
    with pytest.raises(NotLoadable, match=said.replace("builtins", "(builtins|__builtin__)")):
        require_stock(folder, "model")


def test_a_file_that_is_no_pickle_is_refused(tmp_path):
    folder = write_model(tmp_path / "model", linear([1.0, 1.0, 1.0]))
    (folder / "model.sav").write_bytes(b"none")
    with pytest.raises(NotLoadable, match=r"cannot load .*model\.sav"):
        require_stock(folder, "model")
