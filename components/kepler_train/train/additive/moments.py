"""Weighted sums of squares and products over node intervals, by fold: all that a least-squares fit needs of them.

The model of an interval is Σ units·outputs + idle of its node; the loss is the squared error relative to the measured
energy, so every column is divided by that energy first. Idle energies, one a node, are eliminated where the sums are
solved for the rest (Schur's complement), so their number costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.huber import Weigh
from kepler_train.train.additive.interval_sums import IntervalRows

Array = npt.NDArray[np.float64]

_PINNED = 1e9
"""So much stronger than a soft prior that nothing moves it."""


@dataclass(frozen=True)
class Prior:
    """What is known before a fit of the idle energies, (N,) each, and of energy as a whole."""

    millijoules: Array
    strength: Array
    """What a squared millijoule off costs per interval."""
    ceiling_millijoules: Array
    mean_millijoules: float
    """Mean energy of a node interval."""

    def pinned(self, where: npt.NDArray[np.bool_], millijoules: Array) -> Prior:
        """The same with some idle energies fixed."""
        fixed = np.where(where, millijoules, self.millijoules)
        return replace(self, millijoules=fixed, strength=np.where(where, _PINNED * self.strength, self.strength))


@dataclass(frozen=True)
class Moments:
    """Sums over the intervals of each of K folds."""

    products: Array
    """(K, H + 1, H + 1), of the units' relative sums and of the target, last."""
    of_idle: Array
    """(K, N, H + 2), of each node's idle column with the units, with the target, with itself."""
    intervals: Array
    """(K, N)"""

    def of(self, folds: Iterable[int]) -> Moments:
        """The sums over some folds as one."""
        chosen = list(folds)
        return Moments(
            self.products[chosen].sum(axis=0, keepdims=True),
            self.of_idle[chosen].sum(axis=0, keepdims=True),
            self.intervals[chosen].sum(axis=0, keepdims=True),
        )

    def without_idle(self, prior: Prior) -> tuple[Array, Array, float]:
        """Eliminate the idle energies, summed over folds: Gram (H, H), moment (H,) and the constant of the loss."""
        products, of_idle = self.products.sum(axis=0), self.of_idle.sum(axis=0)
        strength = prior.strength * self.intervals.sum(axis=0)
        weight = np.maximum(of_idle[:, -1] + strength, np.finfo(np.float64).tiny)
        with_units, with_target = of_idle[:, :-2], of_idle[:, -2] + strength * prior.millijoules
        gram = products[:-1, :-1] - with_units.T @ (with_units / weight[:, None])
        moment = products[:-1, -1] - with_units.T @ (with_target / weight)
        constant = products[-1, -1] + strength @ prior.millijoules**2 - with_target @ (with_target / weight)
        return gram, moment, float(constant)

    def idle(self, prior: Prior, outputs: Array) -> Array:
        """The idle energies, (N,), that go best with these outputs of the units."""
        of_idle = self.of_idle.sum(axis=0)
        strength = prior.strength * self.intervals.sum(axis=0)
        weight = np.maximum(of_idle[:, -1] + strength, np.finfo(np.float64).tiny)
        idle: Array = (of_idle[:, -2] + strength * prior.millijoules - of_idle[:, :-2] @ outputs) / weight
        return idle


def moments_of(
    rows: Iterable[IntervalRows],
    fold_of: Callable[[IntervalRows], npt.NDArray[np.int64]],
    shape: tuple[int, int, int],
    weigh: Weigh,
) -> Moments:
    """Add up intervals by fold; `shape` is (folds, nodes, units)."""
    folds, nodes, units = shape
    products = np.zeros((folds, units + 1, units + 1))
    of_idle = np.zeros((folds, nodes, units + 2))
    intervals = np.zeros((folds, nodes))
    for chunk in rows:
        root = np.sqrt(weigh(chunk))
        relative = root / chunk.energy_millijoules
        columns = np.column_stack([chunk.sums * relative[:, None], root, relative])
        cells = fold_of(chunk) * nodes + chunk.node
        for cell in np.unique(cells).tolist():
            fold, node = divmod(cell, nodes)
            part = columns[cells == cell]
            squares = part.T @ part
            products[fold] += squares[:-1, :-1]
            of_idle[fold, node] += squares[-1]
            intervals[fold, node] += len(part)
    return Moments(products, of_idle, intervals)
