"""A power function as a network of one hidden layer of relu units, laid out in scikit-learn's or Keras' own classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_OFF = 1e9
"""What a unit of another architecture is pushed below zero by, in scaled units: more than any pod can make up for."""
_UNKNOWN = -1


@dataclass(frozen=True)
class ReluNetwork:
    """f(x) = Σ outputs · max(x/scale · weights − offsets, 0) for n features and H units."""

    scale: Array
    """(n,)"""
    weights: Array
    """(n, H)"""
    offsets: Array
    """(H,)"""
    outputs: Array
    """(H,), mJ per interval"""

    def __call__(self, pods: Array) -> Array:
        """The power of each pod row, (m,) mJ per interval, from features (m, n)."""
        powers: Array = np.maximum(pods / self.scale @ self.weights - self.offsets, 0.0) @ self.outputs
        return np.maximum(powers, 0.0)


@dataclass(frozen=True)
class Layers:
    """A scaler and what follows it: relu(scaled · weights + biases) · outputs."""

    scaler: Any
    weights: Array
    biases: Array
    outputs: Array

    def scikit(self) -> Any:
        """The layers as a stock scikit-learn regressor."""
        from sklearn.neural_network import MLPRegressor

        inputs, hidden = self.weights.shape
        model = MLPRegressor(hidden_layer_sizes=(hidden,), activation="relu")
        model.coefs_ = [self.weights, self.outputs[:, None]]
        model.intercepts_ = [self.biases, np.zeros(1)]
        model.n_features_in_, model.n_outputs_, model.n_layers_ = inputs, 1, 3
        model.out_activation_ = "identity"
        return model

    def keras(self) -> Any:
        """The layers as a Keras model of plain layers: float64, one number per row."""
        from keras import Input, Model, layers

        inputs, hidden = self.weights.shape
        values = Input((inputs,), dtype="float64")
        units = layers.Dense(hidden, activation="relu", dtype="float64")
        total = layers.Dense(1, use_bias=False, dtype="float64")
        model = Model(values, layers.Reshape((), dtype="float64")(total(units(values))))
        units.set_weights([self.weights, self.biases])
        total.set_weights([self.outputs[:, None]])
        return model


def layers_of(network: ReluNetwork) -> Layers:
    """Lay out a network over numeric features."""
    from sklearn.preprocessing import MaxAbsScaler

    network = _at_least_one_unit(network)
    return Layers(
        scaler=MaxAbsScaler().fit(network.scale[None, :]),
        weights=network.weights,
        biases=-network.offsets,
        outputs=network.outputs,
    )


def layers_by_architecture(networks: Mapping[str, ReluNetwork], fallback: ReluNetwork, category: int) -> Layers:
    """Lay out one network per CPU architecture over numeric features and, at column `category`, the architecture.

    Each architecture's units see, beside the features, which architecture it is, as zeros and a one; that of any other
    pushes them below zero, so for a given pod only its own architecture's units answer, and exactly. An architecture
    that was never seen gets `fallback`.
    """
    names = sorted(networks)
    distinct = {name: networks[name] for name in names} if len(names) > 1 else {}
    scaler = _scaler(fallback.scale, category, names if distinct else [])
    if not distinct:
        single = layers_of(networks[names[0]] if names else fallback)
        return Layers(scaler, single.weights, single.biases, single.outputs)
    ordered = [_at_least_one_unit(network) for network in (fallback, *distinct.values())]
    blocks = [_gated(network, position, len(ordered)) for position, network in enumerate(ordered)]
    return Layers(
        scaler=scaler,
        weights=np.hstack(blocks),
        biases=np.zeros(sum(block.shape[1] for block in blocks)),
        outputs=np.concatenate([network.outputs for network in ordered]),
    )


def _gated(network: ReluNetwork, position: int, positions: int) -> Array:
    """The weights of one architecture's units: features, then one row for each architecture, `unknown` first.

    The offset is the weight of the unit's own architecture, so that nothing large is ever added and taken off again.
    """
    gates = np.full((positions, len(network.offsets)), -_OFF)
    gates[position] = -network.offsets
    return np.vstack([network.weights, gates])


def _scaler(scale: Array, category: int, names: list[str]) -> Any:
    """Scale the numeric columns; turn the category into zeros and ones, or leave it out without `names`."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, OrdinalEncoder

    numeric = [column for column in range(len(scale) + 1) if column != category]
    steps: list[tuple[str, Any, list[int]]] = [("numbers", MaxAbsScaler(), numeric)]
    if names:
        codes = np.arange(_UNKNOWN, len(names), dtype=np.float64)
        number = OrdinalEncoder(categories=[names], handle_unknown="use_encoded_value", unknown_value=_UNKNOWN)
        steps.append(("architecture", make_pipeline(number, OneHotEncoder(categories=[codes])), [category]))
    rows = np.empty((max(len(names), 1), len(scale) + 1), dtype=object)
    rows[:, numeric] = scale
    rows[:, category] = names or "any"
    return ColumnTransformer(steps, sparse_threshold=0.0).fit(rows)


def _at_least_one_unit(network: ReluNetwork) -> ReluNetwork:
    """A network that answers 0 has no units, which no library can hold: give it one that counts for nothing."""
    if len(network.offsets):
        return network
    return ReluNetwork(network.scale, np.zeros((len(network.scale), 1)), np.zeros(1), np.zeros(1))
