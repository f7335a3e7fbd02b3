"""The training pipelines that come with kepler-train.

All are additive: one function of a pod's own features, never negative, zero for a pod that does nothing, fitted so that
the sum over a node's pods plus its idle energy is what the node measured. An estimator may thus ask for any number of
pods, and their powers add up. Each name with `-keras` is the same function as the one without, as a Keras model.
"""

from __future__ import annotations

from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.train.additive.basis import Shape
from kepler_train.train.additive.fit import AdditiveFit, fit_additive
from kepler_train.train.additive.relu_network import Layers, layers_by_architecture, layers_of
from kepler_train.train.pipeline import Batches, Fitted, StreamingPipeline
from kepler_train.train.shapes import SHAPES


class _Additive(StreamingPipeline):
    """Fits the functions of its group's shape and lays them out as a network."""

    def fit(self, batches: Batches) -> Fitted:
        fit = fit_additive(
            batches, self.numeric_features, SHAPES[self.group], by_architecture=ARCHITECTURE in self.features
        )
        layers = self._layers(fit)
        model = layers.keras() if self.model_class == "keras" else layers.scikit()
        return _fitted(model, layers.scaler, fit)

    def _layers(self, fit: AdditiveFit) -> Layers:
        if ARCHITECTURE not in self.features:
            return layers_of(fit.pooled)
        return layers_by_architecture(fit.by_architecture, fit.pooled, list(self.features).index(ARCHITECTURE))


class _Linear(StreamingPipeline):
    """Fits one coefficient ≥ 0 a feature: the plain baseline."""

    model_name = "linear"
    model_class = "scikit"
    model_file = "model.sav"

    def fit(self, batches: Batches) -> Fitted:
        from sklearn.linear_model import LinearRegression
        from sklearn.preprocessing import MaxAbsScaler

        fit = fit_additive(batches, self.numeric_features, Shape(linear=self.numeric_features))
        model = LinearRegression()
        model.coef_, model.intercept_ = fit.pooled.weights @ fit.pooled.outputs, 0.0
        model.n_features_in_ = len(self.numeric_features)
        return _fitted(model, MaxAbsScaler().fit(fit.pooled.scale[None, :]), fit)


def _fitted(model: object, scaler: object, fit: AdditiveFit) -> Fitted:
    return Fitted(
        model=model,
        scaler=scaler,
        idle_millijoules=fit.idle_millijoules,
        idle_evidence=fit.idle_evidence,
        notes=fit.notes,
    )


class _Scikit(_Additive):
    model_class = "scikit"
    model_file = "model.sav"


class _Keras(_Additive):
    model_class = "keras"
    model_file = "model.h5"


class FullConcave(_Scikit):
    """All workload features, and a function for each CPU architecture, as a scikit-learn model."""

    model_name = "concave"
    features = FeatureGroup.FULL.features


class FullConcaveKeras(_Keras):
    """All workload features, and a function for each CPU architecture, as a Keras model."""

    model_name = "concave-keras"
    features = FeatureGroup.FULL.features


class WorkloadLinear(_Linear):
    """All workload features, as a linear model."""

    features = FeatureGroup.WORKLOAD_ONLY.features


class WorkloadConcave(_Scikit):
    """All workload features, as a scikit-learn model."""

    model_name = "concave"
    features = FeatureGroup.WORKLOAD_ONLY.features


class WorkloadConcaveKeras(_Keras):
    """All workload features, as a Keras model."""

    model_name = "concave-keras"
    features = FeatureGroup.WORKLOAD_ONLY.features


class CounterLinear(_Linear):
    """Hardware counters, as a linear model."""

    features = FeatureGroup.COUNTER_ONLY.features


class CounterConcave(_Scikit):
    """Hardware counters, as a scikit-learn model."""

    model_name = "concave"
    features = FeatureGroup.COUNTER_ONLY.features


class CounterConcaveKeras(_Keras):
    """Hardware counters, as a Keras model."""

    model_name = "concave-keras"
    features = FeatureGroup.COUNTER_ONLY.features


class CgroupLinear(_Linear):
    """cgroup and I/O statistics, as a linear model."""

    features = FeatureGroup.CGROUP_ONLY.features


class CgroupCurved(_Scikit):
    """cgroup and I/O statistics, as a scikit-learn model."""

    model_name = "curved"
    features = FeatureGroup.CGROUP_ONLY.features


class CgroupCurvedKeras(_Keras):
    """cgroup and I/O statistics, as a Keras model."""

    model_name = "curved-keras"
    features = FeatureGroup.CGROUP_ONLY.features


class BpfLinear(_Linear):
    """CPU time, as a linear model."""

    features = FeatureGroup.BPF_ONLY.features


class BpfCurved(_Scikit):
    """CPU time, as a scikit-learn model."""

    model_name = "curved"
    features = FeatureGroup.BPF_ONLY.features


class BpfCurvedKeras(_Keras):
    """CPU time, as a Keras model."""

    model_name = "curved-keras"
    features = FeatureGroup.BPF_ONLY.features


class KubeletLinear(_Linear):
    """The kubelet's statistics, as a linear model."""

    features = FeatureGroup.KUBELET_ONLY.features


class KubeletCurved(_Scikit):
    """The kubelet's statistics, as a scikit-learn model."""

    model_name = "curved"
    features = FeatureGroup.KUBELET_ONLY.features


class KubeletCurvedKeras(_Keras):
    """The kubelet's statistics, as a Keras model."""

    model_name = "curved-keras"
    features = FeatureGroup.KUBELET_ONLY.features
