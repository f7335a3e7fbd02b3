"""What the shipped pipelines are compared with, fitted in the same run to the same rows.

The reference system fits scikit-learn's regressors to the *sums* over a node's pods, the target being the node's energy
less the least that was seen, and its users apply them to each *pod* (kepler-model-server, trainers and minimum-idle
isolator of its pipelines; parameters are its own, power is in watts).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from benchmarks.accuracy.rows import Floats, Rows

from kepler_train.contract.features import WORKLOAD_FEATURES
from kepler_train.contract.models import idle_of
from kepler_train.contract.parts import IntervalBatch
from kepler_train.contract.window import INTERVAL_SECONDS

MILLIJOULES_PER_WATT = 1000 * INTERVAL_SECONDS
MOST_ROWS_FOR_SVR = 500
"""Its time grows with the square of the rows."""

CONSTANT = "constant per node: mean"
LUCKY_CONSTANT = "constant per node: least relative error"
BOUND = "bound: free node-level boosting"
SHARE = "cpu-time share of the measured node"
ORACLE = "oracle: boosting on true pods"

PerBatch = Callable[[IntervalBatch], Floats]


@dataclass(frozen=True)
class Fit:
    """A fitted model: of each pod row (m,), of the whole node interval (k,), or of both; all in mJ."""

    pods: PerBatch | None = None
    node: PerBatch | None = None
    idle_millijoules: dict[str, float] = field(default_factory=dict)

    def node_energy(self, batch: IntervalBatch) -> Floats:
        """The energy of each node interval, (k,): Σ pods + idle unless the model tells it directly."""
        if self.node is not None:
            return self.node(batch)
        assert self.pods is not None
        return batch.sum_over_pods(self.pods(batch)) + idle_of(self.idle_millijoules, batch.node)


def constant(rows: Rows) -> Fit:
    """Each node's mean energy."""
    energy, nodes = rows.energy_millijoules, rows.nodes
    means = {node: float(energy[nodes == node].mean()) for node in np.unique(nodes).tolist()}
    return Fit(node=lambda batch: np.full(len(batch), idle_of(means, batch.node)))


def lucky_constant(rows: Rows) -> Fit:
    """The constant for each node that has the smallest mean relative error: the median, weighted by 1 / energy.

    It predicts far too little on average, and shows how much of a small percentage is no knowledge at all.
    """
    constants = {}
    for node in np.unique(rows.nodes).tolist():
        energy = np.sort(rows.energy_millijoules[rows.nodes == node])
        shares = np.cumsum(1 / energy)
        constants[node] = float(energy[np.searchsorted(shares, shares[-1] / 2)])
    return Fit(node=lambda batch: np.full(len(batch), idle_of(constants, batch.node)))


def reference(regressor: Callable[[], Any], most_rows: int | None = None) -> Callable[[Rows], Fit]:
    """The reference system's way with one of its regressors: fitted to node sums, applied to pods."""

    def fit(rows: Rows) -> Fit:
        model, idle = _fitted_to_sums(regressor(), rows, most_rows)

        def pods(batch: IntervalBatch) -> Floats:
            return np.maximum(_watts(model, batch.pods) * MILLIJOULES_PER_WATT, 0.0)

        return Fit(pods=pods, idle_millijoules=idle)

    return fit


def judged_on_sums(regressor: Callable[[], Any]) -> Callable[[Rows], Fit]:
    """The same model judged where it was fitted: what the reference system reports."""

    def fit(rows: Rows) -> Fit:
        model, idle = _fitted_to_sums(regressor(), rows)

        def node(batch: IntervalBatch) -> Floats:
            sums = batch.sum_over_pods(batch.pods)
            return _watts(model, sums) * MILLIJOULES_PER_WATT + idle_of(idle, batch.node)

        return Fit(node=node)

    return fit


def bound(rows: Rows) -> Fit:
    """Gradient boosting on node sums, free of the need to split, fitted to squared relative errors."""
    model = _boosting().fit(rows.sums, rows.energy_millijoules, sample_weight=rows.energy_millijoules**-2.0)
    return Fit(node=lambda batch: model.predict(batch.sum_over_pods(batch.pods)))


def share_of_cpu_time(rows: Rows) -> Fit:
    """What is measured beyond idle, by cpu time: what a node with a sensor can tell, its true idle energy given.

    Needs batches with all features.
    """

    def pods(batch: IntervalBatch) -> Floats:
        time = batch.pods[:, WORKLOAD_FEATURES.index("curr_cpu_time")]
        dynamic = np.maximum(batch.energy_millijoules - rows.idle_millijoules[batch.node], 0.0)
        per_time = dynamic / np.maximum(batch.sum_over_pods(time), 1e-9)
        return time * np.repeat(per_time, np.diff(batch.starts))

    return Fit(pods=pods)


def oracle(rows: Rows) -> Fit:
    """Gradient boosting on the truth of each pod, which only a simulator knows."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    model = HistGradientBoostingRegressor(max_iter=300, random_state=0)
    # Its threads wait for each other busily, which takes minutes where a machine is shared.
    with threadpool_limits(1, user_api="openmp"):
        model.fit(rows.pods, np.concatenate(rows.truth) / MILLIJOULES_PER_WATT)
    return Fit(pods=lambda batch: np.maximum(_watts(model, batch.pods) * MILLIJOULES_PER_WATT, 0.0))


def reference_peers() -> dict[str, Callable[[Rows], Fit]]:
    """The reference system's regressors, applied to pods, by name."""
    from sklearn.linear_model import LinearRegression
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.svm import SVR

    return {
        "reference, on pods: boosting": reference(_boosting),
        "reference, on pods: kNN": reference(lambda: KNeighborsRegressor(n_neighbors=6)),
        "reference, on pods: polynomial": reference(_polynomial),
        "reference, on pods: linear": reference(LinearRegression),
        "reference, on pods: SVR": reference(lambda: SVR(C=1.0, epsilon=0.2), MOST_ROWS_FOR_SVR),
    }


def node_level_peers() -> dict[str, Callable[[Rows], Fit]]:
    """Models of a whole node, which no estimator can serve for a pod."""
    from sklearn.linear_model import LinearRegression

    return {
        CONSTANT: constant,
        LUCKY_CONSTANT: lucky_constant,
        "reference, as it reports: linear": judged_on_sums(LinearRegression),
        "reference, as it reports: boosting": judged_on_sums(_boosting),
        BOUND: bound,
    }


def _boosting() -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=100, max_depth=3, learning_rate=0.1, random_state=0)


def _polynomial() -> Any:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    return make_pipeline(PolynomialFeatures(degree=2), LinearRegression())


def _fitted_to_sums(regressor: Any, rows: Rows, most_rows: int | None = None) -> tuple[Any, dict[str, float]]:
    """Fit to node sums; gives the model, from features to watts, and each node's least energy as its idle."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    energy, nodes = rows.energy_millijoules, rows.nodes
    idle = {node: float(energy[nodes == node].min()) for node in np.unique(nodes).tolist()}
    dynamic = (energy - np.array([idle[node] for node in nodes.tolist()])) / MILLIJOULES_PER_WATT
    stride = -(-len(rows) // most_rows) if most_rows else 1
    model = make_pipeline(MaxAbsScaler(), regressor).fit(rows.sums[::stride], dynamic[::stride])
    return model, idle


def _watts(model: Any, features: Floats) -> Floats:
    watts: Floats = model.predict(features) if len(features) else np.zeros(0)
    return watts
