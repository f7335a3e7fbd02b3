"""What goes wrong on real nodes, fixed by seed and time: restarts, missed scrapes, impossible values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kepler_train.contract.features import WORKLOAD_FEATURES
from kepler_train.simulate.cluster import Stretch
from kepler_train.simulate.randomness import Floats, Ints, keys_of, stretches, uniform

_RESTART_EVERY = 500.0
_RESTART_INTERVALS = 4
"""How long an exporter that restarts is away."""
_MISSED_SHARE = 1 / 400
_REBOOT_SHARE = 0.25
"""Of the restarts: the whole node came back, and its package counters begin at 0 too."""
_IMPOSSIBLE_SHARE = 1 / 700
_DUPLICATE_SHARE = 1 / 1000

WRAPPED_BELOW_ZERO = 2.0**64 - 2.0**20
"""What an unsigned counter that went a little below zero shows; a number that float64 holds exactly."""

PACKAGE_WRAP_MILLIJOULES = 262_143_328
"""Where the package counter of RAPL starts again from 0: 32 bits of 61 µJ."""
DRAM_WRAP_MILLIJOULES = 65_712_999
"""The same for DRAM, in units of 15.3 µJ."""


@dataclass(frozen=True)
class Faults:
    """The faults of one stretch: (t,) for intervals, (m,) for pod rows."""

    absent: npt.NDArray[np.bool_]
    """No sample of this interval was stored."""
    restarted: npt.NDArray[np.bool_]
    """The first interval after the exporter came back: the totals it keeps of pods begin at 0."""
    rebooted: npt.NDArray[np.bool_]
    """The first interval after the node came back."""
    features: Floats
    """(m, 11), with impossible values in some rows."""
    not_a_number: npt.NDArray[np.bool_]
    """The row's attributed energy is NaN."""
    empty_labels: npt.NDArray[np.bool_]
    """The row's kubelet labels are empty."""
    duplicated: npt.NDArray[np.bool_]
    """The row was stored twice."""


def no_faults(stretch: Stretch) -> Faults:
    """All well."""
    intervals = np.zeros(len(stretch.index), dtype=np.bool_)
    rows = np.zeros(len(stretch.features), dtype=np.bool_)
    return Faults(intervals, intervals, intervals, stretch.features, rows, rows, rows)


def faults_of(seed: int, stretch: Stretch) -> Faults:
    """Draw the faults of a node's stretch."""
    restart_key = keys_of(1, seed, stretch.node, "restart")
    number, since = stretches(restart_key, stretch.index, _RESTART_EVERY)
    since = np.floor(since[:, 0])
    reboot = uniform(~restart_key, number)[:, 0] < _REBOOT_SHARE
    missed = uniform(keys_of(1, seed, stretch.node, "missed"), stretch.index)[:, 0] < _MISSED_SHARE
    drawn = _per_row(stretch, seed)
    impossible, what = drawn < _IMPOSSIBLE_SHARE, np.floor(drawn / _IMPOSSIBLE_SHARE * 7)
    features = stretch.features.copy()
    for case, feature in enumerate(("curr_cache_miss", "curr_cpu_cycles", "curr_cpu_instr", "curr_cpu_time")):
        features[impossible & (what == case), WORKLOAD_FEATURES.index(feature)] = WRAPPED_BELOW_ZERO
    # More cpu time in one interval than any node has.
    features[impossible & (what == 4), WORKLOAD_FEATURES.index("curr_cpu_time")] *= 1e6
    return Faults(
        absent=(since < _RESTART_INTERVALS) | missed,
        restarted=since == _RESTART_INTERVALS,
        rebooted=(since == _RESTART_INTERVALS) & reboot,
        features=features,
        not_a_number=impossible & (what == 5),
        empty_labels=impossible & (what == 6),
        duplicated=(drawn > 0.5) & (drawn < 0.5 + _DUPLICATE_SHARE),
    )


def _per_row(stretch: Stretch, seed: int) -> Floats:
    """One number from [0, 1) per row, a function of pod and absolute interval alone."""
    keys = np.concatenate([keys_of(1, seed, stretch.node, pod.name, "row") for pod in stretch.pods])
    index: Ints = stretch.index[stretch.row_interval]
    return uniform(keys, stretch.index)[stretch.row_interval, stretch.row_pod] if len(index) else np.zeros(0)
