"""What a node model learns of kinds of pods beyond its few non-negative functions.

Workloads of the same counts need not cost the same: an instruction may be an addition or a wide multiplication. A node
model that is fitted with a ridge spreads such differences out over all pods. So what pods do by themselves is corrected
where the node's energy asks for it, by functions of ratios of either sign, and by as little, relative to each pod's
part, as explains the node: a random effect in all but name (Henderson, 1975). The model is not served, only split by,
so its functions may fall; what is fitted to its parts is as non-negative as before.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from kepler_train.train.additive.basis import Basis
from kepler_train.train.additive.huber import huber
from kepler_train.train.additive.node_model import NodeModel
from kepler_train.train.additive.sample import Sample

Array = npt.NDArray[np.float64]

RELUCTANCE = 36_000.0
"""A correction of all pods by 1 % costs as much as 3.6 intervals that are off by what is usual."""
_SMALLEST_PART = 1e-3
"""Of the node's energy: a pod with a smaller part is not worth its own proportions."""
_JITTER = 1e-6


def with_kinds(model: NodeModel, sample: Sample, basis: Basis) -> NodeModel:
    """Correct what pods do by themselves; curves and idle energies stay as they are."""
    intervals, pods = sample.intervals, sample.pods
    proportional = basis.offsets == 0
    errors = model.errors(intervals)
    root = np.sqrt(huber(errors))
    relative = intervals.sums[:, proportional] * (root / intervals.energy_millijoules)[:, None]
    units = basis.units(pods.pods)
    part = model.parts(units, intervals.sums, pods.interval)
    least = _SMALLEST_PART * intervals.energy_millijoules[pods.interval]
    corrections = units[proportional] / np.maximum(part, least)
    spread = corrections @ corrections.T / max(len(part), 1)
    spread[np.diag_indices_from(spread)] *= 1 + _JITTER
    usual = float(np.mean((root * errors) ** 2))
    gram = relative.T @ relative + RELUCTANCE * usual * spread
    work = model.work.copy()
    work[proportional] += np.linalg.lstsq(gram, -relative.T @ (root * errors), rcond=None)[0]
    return replace(model, work=work)
