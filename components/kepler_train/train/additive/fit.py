"""Fitting a power function to a training part: one function for all nodes, or one for each architecture."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from kepler_train.contract.evidence import IdleEvidence
from kepler_train.contract.parts import IntervalBatch
from kepler_train.train.additive.basis import Basis, Shape, basis_of
from kepler_train.train.additive.least_squares import LeastSquares, Solution
from kepler_train.train.additive.moments import Prior
from kepler_train.train.additive.relu_network import ReluNetwork
from kepler_train.train.additive.sample import take_sample
from kepler_train.train.additive.survey import Survey, survey

logger = logging.getLogger("kepler_train")

Batches = Callable[[], Iterator[IntervalBatch]]

IDLE_STRENGTH = 0.01
"""An idle energy that is off by 1 % of the mean energy costs as much as an error of 0.1 % in every interval."""


@dataclass(frozen=True)
class AdditiveFit:
    """A fitted power function for each CPU architecture, and what came with it."""

    pooled: ReluNetwork
    """Fitted to all nodes; for architectures that were never seen."""
    by_architecture: dict[str, ReluNetwork]
    idle_millijoules: dict[str, float]
    idle_evidence: dict[str, IdleEvidence]
    notes: tuple[str, ...]


def fit_additive(
    batches: Batches, features: tuple[str, ...], shape: Shape, *, by_architecture: bool = False
) -> AdditiveFit:
    """Fit functions of this shape to a training part, in memory that does not grow with it.

    `features` name the columns of the batches' pod rows. With `by_architecture`, nodes of different CPU architectures
    get functions of their own.
    """
    with threadpool_limits(limits=1, user_api="blas"):  # matrices are small: threads would only wait for each other
        return _fit(batches, features, shape, by_architecture=by_architecture)


def _fit(batches: Batches, features: tuple[str, ...], shape: Shape, *, by_architecture: bool) -> AdditiveFit:
    seen = survey(batches())
    basis = basis_of(shape, features, seen.pod_sample)
    nodes, architectures = list(seen.architectures), np.array(list(seen.architectures.values()))
    sample = take_sample(batches(), nodes, basis.units, seen.node_intervals)
    used = len(sample.intervals.node)
    logger.info("fit: %d of %d node intervals of %d nodes", used, seen.node_intervals, len(nodes))
    everything = LeastSquares(sample, basis, seen.blocks, _prior(seen))
    pooled = everything.fit()
    own: dict[str, Solution] = {}
    idle = pooled.idle_millijoules
    for architecture in np.unique(architectures[sample.intervals.node]).tolist() if by_architecture else ():
        mine = architectures == architecture
        own[architecture] = pooled if mine.all() else everything.only(mine).fit()
        idle = np.where(mine, own[architecture].idle_millijoules, idle)
    fitted = dict(zip(nodes, idle.tolist(), strict=True))
    return AdditiveFit(
        pooled=_network(basis, pooled),
        by_architecture={architecture: _network(basis, solution) for architecture, solution in own.items()},
        idle_millijoules=fitted,
        idle_evidence={node: seen.idle[node].evidence_of(millijoules) for node, millijoules in fitted.items()},
        notes=_notes(pooled, features, basis),
    )


def _prior(seen: Survey) -> Prior:
    idle = list(seen.idle.values())
    return Prior(
        millijoules=np.array([node.millijoules for node in idle]),
        strength=np.full(len(idle), IDLE_STRENGTH / seen.mean_millijoules**2),
        ceiling_millijoules=np.array([node.ceiling_millijoules for node in idle]),
        mean_millijoules=seen.mean_millijoules,
    )


def _network(basis: Basis, solution: Solution) -> ReluNetwork:
    used = solution.outputs != 0
    return ReluNetwork(basis.scale, basis.weights[:, used], basis.offsets[used], solution.outputs[used])


def _notes(pooled: Solution, features: tuple[str, ...], basis: Basis) -> tuple[str, ...]:
    used = np.abs(basis.weights[:, pooled.outputs != 0]).sum(axis=1) > 0
    unused = [feature for feature, is_used in zip(features, used, strict=True) if not is_used]
    return (f"split strength {pooled.split_strength:g}", *([f"without use: {', '.join(unused)}"] if unused else []))
