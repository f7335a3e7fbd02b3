"""The figures to reach. None is read by what is measured; they only stand beside it."""

from __future__ import annotations

from benchmarks.accuracy.simulated import INDEPENDENT_ROWS, KIND_LEFT_OUT, NO_IDLE_TIME, TWICE_AS_LARGE, UNSEEN_ROWS

from kepler_train.contract.features import FeatureGroup
from kepler_train.simulate.spec import Scenario

SUM_MAPE_PERCENT = {
    FeatureGroup.COUNTER_ONLY: 3.2,
    FeatureGroup.WORKLOAD_ONLY: 2.9,
    FeatureGroup.BPF_ONLY: 17.0,
    FeatureGroup.CGROUP_ONLY: 22.0,
    FeatureGroup.KUBELET_ONLY: 35.0,
}
SUM_BIAS_PERCENT = {FeatureGroup.COUNTER_ONLY: 0.5, FeatureGroup.WORKLOAD_ONLY: 0.5}

_INDEPENDENT_ROWS_PERCENT = {
    FeatureGroup.COUNTER_ONLY: {
        Scenario.INDEPENDENT.value: 6.0,
        Scenario.MIXES.value: 7.0,
        Scenario.ONE_VARIES.value: 7.0,
        Scenario.ONE_CURVE.value: 11.0,
    },
    FeatureGroup.WORKLOAD_ONLY: {
        Scenario.INDEPENDENT.value: 4.0,
        Scenario.MIXES.value: 5.0,
        Scenario.ONE_VARIES.value: 6.0,
        Scenario.ONE_CURVE.value: 7.0,
    },
}
_TWICE_AS_LARGE_PERCENT, _TWICE_AS_LARGE_ONE_CURVE_PERCENT = 8.0, 20.0
_UNSEEN_KIND_PERCENT = 6.0
IDLE_PERCENT = 3.0

TRAINING_TIMES = 3.0
"""Against scikit-learn's LinearRegression on the same rows."""
MEMORY_TIMES = 1.1
"""Peak memory with four times the rows: flat, but for what an allocator leaves to chance."""
INFERENCE_TIMES = {"scikit": 3.0, "keras": 1.2}
"""Against a scaled LinearRegression, and a Keras model of one layer."""


def of_split(group: FeatureGroup, training: str, test: str) -> float | None:
    """The per-pod error to reach on these test rows after this training window, in percent."""
    if test == UNSEEN_ROWS:
        return _UNSEEN_KIND_PERCENT
    if training in (NO_IDLE_TIME, KIND_LEFT_OUT):
        return None
    if test == TWICE_AS_LARGE:
        one_curve = training == Scenario.ONE_CURVE.value
        return _TWICE_AS_LARGE_ONE_CURVE_PERCENT if one_curve else _TWICE_AS_LARGE_PERCENT
    return _INDEPENDENT_ROWS_PERCENT[group][training] if test == INDEPENDENT_ROWS else None
