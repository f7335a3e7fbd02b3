"""The files' models equal the fitted function, in both classes, for every way that it is laid out."""

from __future__ import annotations

import numpy as np
import pytest

from kepler_train.contract.features import FeatureGroup
from kepler_train.train.additive.fit import fit_additive
from kepler_train.train.additive.relu_network import ReluNetwork, layers_by_architecture, layers_of
from kepler_train.train.shapes import SHAPES
from tests.unit.train.conftest import batches_of

FEATURES = FeatureGroup.WORKLOAD_ONLY.features


@pytest.fixture(scope="module")
def network(nodes):
    batches = batches_of(nodes, FEATURES)
    return fit_additive(lambda: iter(batches), FEATURES, SHAPES[FeatureGroup.WORKLOAD_ONLY]).pooled


@pytest.fixture(scope="module")
def other(network):
    return ReluNetwork(network.scale, network.weights, network.offsets / 2, network.outputs * 1.5)


@pytest.fixture(scope="module")
def rows(nodes):
    """Pod rows, among them one at rest, tiny ones and ones far beyond what was seen."""
    rows = nodes[0].pods[:200]
    return np.vstack([np.zeros((1, rows.shape[1])), rows, rows * 1e-6, rows * 20])


def predicted(layers, model_class, request):
    if model_class == "scikit":
        return layers.scikit().predict(layers.scaler.transform(request))
    # Not `predict`, which rounds what it is given to float32, in whatever the layers compute.
    return layers.keras()(layers.scaler.transform(request)).numpy()


def assert_same(found, expected):
    assert found.dtype == np.float64
    assert found.shape == expected.shape
    assert found[0] == 0.0
    assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()
    moderate = expected > 1e-3 * expected.max()
    assert found[moderate] == pytest.approx(expected[moderate], rel=1e-9)


@pytest.mark.parametrize("model_class", ["scikit", "keras"])
def test_a_network_over_numbers(network, rows, model_class):
    assert_same(predicted(layers_of(network), model_class, rows), network(rows))


def with_category(rows, architecture, column):
    request = rows.astype(object)
    return np.insert(request, column, architecture, axis=1)


@pytest.mark.parametrize("model_class", ["scikit", "keras"])
@pytest.mark.parametrize("column", [0, len(FEATURES)])
def test_each_architecture_has_its_own_network_and_an_unseen_one_the_fallback(
    network, other, rows, column, model_class
):
    fallback = ReluNetwork(network.scale, network.weights, network.offsets, network.outputs * 7)
    layers = layers_by_architecture({"Broadwell": network, "Sky Lake": other}, fallback, column)
    for architecture, expected in (("Broadwell", network), ("Sky Lake", other), ("Alder Lake", fallback)):
        assert_same(predicted(layers, model_class, with_category(rows, architecture, column)), expected(rows))


def test_a_single_architecture_is_the_network_over_numbers(network, rows):
    layers = layers_by_architecture({"Broadwell": network}, network, len(FEATURES))
    for architecture in ("Broadwell", "never seen"):
        found = predicted(layers, "scikit", with_category(rows, architecture, len(FEATURES)))
        assert found.tolist() == predicted(layers_of(network), "scikit", rows).tolist()


@pytest.mark.parametrize("model_class", ["scikit", "keras"])
def test_a_function_without_units_answers_nothing(model_class):
    nothing = ReluNetwork(np.ones(2), np.zeros((2, 0)), np.zeros(0), np.zeros(0))
    assert predicted(layers_of(nothing), model_class, np.ones((3, 2))).tolist() == [0.0, 0.0, 0.0]
