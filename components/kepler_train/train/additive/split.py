"""How a node model splits energy among pods, as a least-squares term for functions that see one pod."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.node_model import NodeModel
from kepler_train.train.additive.sample import Sample

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """The mean over intervals of Σ pods (f(pod) − pod's part)², relative to the node's energy: its Gram and moment."""

    gram: Array
    """(H, H)"""
    moment: Array
    """(H,)"""


def split_of(model: NodeModel, sample: Sample, units: Callable[[Array], Array]) -> Split:
    """Give each sampled pod row its part of its node's energy."""
    intervals, pods = sample.intervals, sample.pods
    energy = intervals.energy_millijoules[pods.interval]
    values = units(pods.pods)
    part = model.parts(values, intervals.sums, pods.interval) / energy
    values /= energy
    share = sample.pods_per_interval / max(len(part), 1)
    return Split(gram=share * (values @ values.T), moment=share * (values @ part))
