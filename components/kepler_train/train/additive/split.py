"""How a node model splits energy among pods, as a least-squares term for functions that see one pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.interval_sums import IntervalRows, PodRows
from kepler_train.train.additive.node_model import NodeModel

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """The mean over intervals of Σ pods (f(pod) − pod's part)², relative to the node's energy: its Gram and moment."""

    gram: Array
    """(H, H)"""
    moment: Array
    """(H,)"""


def split_of(
    model: NodeModel,
    pods: PodRows,
    pods_per_interval: float,
    rows: Iterable[IntervalRows],
    units: Callable[[Array], Array],
) -> Split:
    """Give each sampled pod row its part of its node's energy; those of its interval are among `rows`."""
    wanted, interval = np.unique(pods.interval, return_inverse=True)
    values = units(pods.pods)
    sums, energy = np.ones((len(wanted), len(values))), np.ones(len(wanted))
    for some in rows:
        at = np.searchsorted(wanted, some.number)
        found = (at < len(wanted)) & (wanted[np.minimum(at, len(wanted) - 1)] == some.number)
        sums[at[found]] = some.sums[found]
        energy[at[found]] = some.energy_millijoules[found]
    part = model.parts(values, sums[interval]) / energy[interval]
    values /= energy[interval]
    share = pods_per_interval / len(part)
    return Split(gram=share * (values @ values.T), moment=share * (values @ part))
