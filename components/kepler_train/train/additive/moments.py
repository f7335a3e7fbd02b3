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

from kepler_train.train.additive.sample import IntervalRows
from kepler_train.train.additive.survey import sum_by_interval

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


def held_out_loss(moments: Moments, prior: Prior, solve: Callable[[Moments], Array]) -> float:
    """The mean squared relative error of folds by what `solve` makes of the others; idle energies adapt."""
    folds, loss = range(len(moments.products)), 0.0
    for fold in folds:
        outputs = solve(moments.of(other for other in folds if other != fold))
        gram, moment, constant = moments.of([fold]).without_idle(prior)
        loss += float(outputs @ gram @ outputs - 2 * outputs @ moment + constant)
    return loss / float(moments.intervals.sum())


def moments_of(rows: IntervalRows, weight: Array, fold: npt.NDArray[np.int64], shape: tuple[int, int]) -> Moments:
    """Add up weighed intervals, (k,), by fold, (k,); `shape` is (folds, nodes)."""
    folds, nodes = shape
    units = rows.sums.shape[1]
    order = np.argsort(fold * nodes + rows.node, kind="stable")
    cell = (fold * nodes + rows.node)[order]
    root = np.sqrt(weight[order])
    relative = root / rows.energy_millijoules[order]
    columns = np.empty((len(order), units + 2))
    np.multiply(rows.sums[order], relative[:, None], out=columns[:, :-2])
    columns[:, -2], columns[:, -1] = root, relative
    ends = np.searchsorted(cell, np.arange(folds * nodes + 1))
    products = np.empty((folds, units + 1, units + 1))
    for number in range(folds):
        part = columns[ends[number * nodes] : ends[(number + 1) * nodes], :-1]
        products[number] = part.T @ part
    columns *= relative[:, None]
    of_idle = sum_by_interval(ends, columns.T).T
    intervals = np.diff(ends).astype(np.float64)
    return Moments(products, of_idle.reshape(folds, nodes, -1), intervals.reshape(folds, nodes))
