"""The functions of a pod's features that a power model is a non-negative sum of, written as relu units.

Every one is non-negative for non-negative features and 0 where all features are 0, so a sum with coefficients ≥ 0 is a
power: never negative, and none for a pod that does nothing. As each is a combination of relu units, a fitted sum *is* a
network with one hidden layer, in scikit-learn or Keras, without approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SCALE_QUANTILE = 0.995
CONCAVE_KNOTS = np.geomspace(1e-3, 1.0, 16)
CONVEX_KNOTS = np.linspace(0.1, 1.0, 10)
RATIO_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
_LEAST_FOR_RATIO = 1e-6


@dataclass(frozen=True)
class Shape:
    """Which functions of which features to use; features without signal are left out.

    Each feature x in `linear` gives x itself; in `concave`, min(x, k)/k at 16 knots; in `convex`, max(x − k, 0). Each
    pair in `ratios` gives min(x, q·y) at five quantiles q of x/y; of those, a pair in `excesses` gives max(x − q·y, 0)
    too, and one that is there the other way around, (y, x), max(y − x/q, 0): cycles over CPU time is a frequency,
    instructions over cycles a kind of work. All grow with every feature, but for excesses, which fall with the feature
    that is taken off.

    Features in `shared` are what pods use of something common to a node, so that energy flattens out in their totals;
    beside each stands how reluctantly: a factor on the ridge.

    With `kinds`, the ratios tell kinds of workloads apart well enough to learn what each of them costs.
    """

    linear: tuple[str, ...]
    concave: tuple[str, ...] = ()
    convex: tuple[str, ...] = ()
    ratios: tuple[tuple[str, str], ...] = ()
    excesses: tuple[tuple[str, str], ...] = ()
    shared: tuple[tuple[str, float], ...] = ()
    kinds: bool = False


@dataclass(frozen=True)
class Basis:
    """p functions of n features as combinations of H units max(x/scale · weights − offsets, 0)."""

    scale: Array
    """(n,)"""
    weights: Array
    """(n, H)"""
    offsets: Array
    """(H,), ≥ 0"""
    columns: Array
    """(H, p): each function as a sum of units."""
    linear: npt.NDArray[np.bool_]
    """(p,): the functions that are a feature itself."""
    proportional: npt.NDArray[np.bool_]
    """(p,): the functions that double when all features double: those, and those of ratios."""
    shared: dict[int, float]
    """Unit that is a shared feature itself, to how reluctantly energy flattens out in it."""
    kinds: bool
    """Whether ratios tell kinds of workloads apart."""

    def units(self, pods: Array) -> Array:
        """The units of each pod row, transposed: (H, m), from features (m, n)."""
        inputs = np.ones((len(self.scale) + 1, len(pods)))
        inputs[:-1] = pods.T
        values: Array = np.vstack([self.weights / self.scale[:, None], -self.offsets]).T @ inputs
        return np.maximum(values, 0.0, out=values)


def basis_of(shape: Shape, features: tuple[str, ...], sample: Array) -> Basis:
    """Place the functions of a shape by a sample of pod rows, (s, n), whose columns are the numeric `features`."""
    scale = scale_of(sample)
    scaled = sample / scale
    builder = _Builder(len(features))
    varies = {feature: index for index, feature in enumerate(features) if np.ptp(sample[:, index]) > 0}
    for kind, add in (
        (shape.linear, builder.add_linear),
        (shape.concave, builder.add_concave),
        (shape.convex, builder.add_convex),
    ):
        for index in (varies[feature] for feature in kind if feature in varies):
            add(index)
    for x, y in shape.ratios:
        if x in varies and y in varies:
            for quantile in _ratios(scaled[:, varies[x]], scaled[:, varies[y]]):
                builder.add_ratio(varies[x], varies[y], quantile)
                if (x, y) in shape.excesses:
                    builder.add_excess(varies[x], varies[y], quantile)
                if (y, x) in shape.excesses:
                    builder.add_shortfall(varies[x], varies[y], quantile)
    builder.add_shared({varies[feature]: reluctance for feature, reluctance in shape.shared if feature in varies})
    return builder.basis(scale, kinds=shape.kinds)


def scale_of(sample: Array) -> Array:
    """A scale for each feature of pod rows, (s, n): its 99.5 % quantile, its maximum where that is 0, else 1."""
    scale = np.quantile(sample, SCALE_QUANTILE, axis=0)
    scale = np.where(scale > 0, scale, sample.max(axis=0))
    return np.where(scale > 0, scale, 1.0)


def _ratios(x: Array, y: Array) -> list[float]:
    both = (x > _LEAST_FOR_RATIO) & (y > _LEAST_FOR_RATIO)
    if not both.any():
        return []
    quantiles: list[float] = np.unique(np.quantile(x[both] / y[both], RATIO_QUANTILES)).tolist()
    return quantiles


class _Kind(Enum):
    LINEAR, RATIO, KNOT = range(3)


class _Builder:
    """Collects units, and the functions that are made of them."""

    def __init__(self, features: int) -> None:
        self._features = features
        self._weights: list[Array] = []
        self._offsets: list[float] = []
        self._functions: list[tuple[dict[int, float], _Kind]] = []
        self._plain: dict[int, int] = {}
        self._shorts: dict[tuple[int, int, float], int] = {}
        self._shared: dict[int, float] = {}

    def add_linear(self, x: int) -> None:
        self._function({self._itself(x): 1.0}, _Kind.LINEAR)

    def add_concave(self, x: int) -> None:
        for knot in CONCAVE_KNOTS.tolist():  # min(x, k)/k = (x − max(x − k, 0))/k
            self._function({self._itself(x): 1 / knot, self._unit({x: 1.0}, knot): -1 / knot}, _Kind.KNOT)

    def add_convex(self, x: int) -> None:
        for knot in CONVEX_KNOTS.tolist():
            self._function({self._unit({x: 1.0}, knot): 1.0}, _Kind.KNOT)

    def add_ratio(self, x: int, y: int, quantile: float) -> None:
        size = max(1.0, quantile)  # min(x, q·y) = q·y − max(q·y − x, 0)
        parts = {self._itself(y): quantile / size, self._short(x, y, quantile): -1 / size}
        self._function(parts, _Kind.RATIO)

    def add_excess(self, x: int, y: int, quantile: float) -> None:
        short = self._short(x, y, quantile)  # max(x − q·y, 0) = x − q·y + max(q·y − x, 0)
        self._function({self._itself(x): 1.0, self._itself(y): -quantile, short: 1.0}, _Kind.RATIO)

    def add_shortfall(self, x: int, y: int, quantile: float) -> None:
        self._function({self._short(x, y, quantile): 1 / quantile}, _Kind.RATIO)

    def add_shared(self, reluctance: dict[int, float]) -> None:
        self._shared = {self._itself(x): reluctance[x] for x in reluctance}

    def basis(self, scale: Array, *, kinds: bool) -> Basis:
        columns = np.zeros((len(self._offsets), len(self._functions)))
        for index, (parts, _) in enumerate(self._functions):
            for unit, share in parts.items():
                columns[unit, index] += share
        return Basis(
            scale=scale,
            weights=np.array(self._weights).reshape(-1, self._features).T,
            offsets=np.array(self._offsets),
            columns=columns,
            linear=np.array([kind is _Kind.LINEAR for _, kind in self._functions], dtype=np.bool_),
            proportional=np.array([kind is not _Kind.KNOT for _, kind in self._functions], dtype=np.bool_),
            shared=self._shared,
            kinds=kinds,
        )

    def _itself(self, x: int) -> int:
        if x not in self._plain:
            self._plain[x] = self._unit({x: 1.0})
        return self._plain[x]

    def _short(self, x: int, y: int, quantile: float) -> int:
        """The unit max(q·y − x, 0)."""
        if (x, y, quantile) not in self._shorts:
            self._shorts[x, y, quantile] = self._unit({y: quantile, x: -1.0})
        return self._shorts[x, y, quantile]

    def _unit(self, weights: dict[int, float], offset: float = 0.0) -> int:
        row = np.zeros(self._features)
        row[list(weights)] = list(weights.values())
        self._weights.append(row)
        self._offsets.append(offset)
        return len(self._offsets) - 1

    def _function(self, parts: dict[int, float], kind: _Kind) -> None:
        self._functions.append((parts, kind))
