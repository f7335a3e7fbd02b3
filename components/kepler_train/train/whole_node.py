"""A model of a whole node's energy, made beside every model of pods: what later estimators call AbsPower.

It is asked with one row, the sum of the node's pods, on nodes without a sensor: nobody knows such a node's idle energy,
so this model has one of its own, the same for all nodes (in Full, for all of one CPU architecture). It is the function
that is fitted to pods, fitted to nodes: concave, non-negative, and growing in proportion beyond what was seen.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

import numpy as np

from kepler_train.contract.features import ARCHITECTURE
from kepler_train.contract.models import NODE_MODEL_FOLDER
from kepler_train.contract.parts import IntervalBatch
from kepler_train.train.additive.fit import AdditiveFit, fit_additive
from kepler_train.train.additive.relu_network import Layers, ReluNetwork, layers_by_architecture, layers_of
from kepler_train.train.additive.survey import sum_by_interval
from kepler_train.train.candidate import write_model
from kepler_train.train.pipeline import Batches, Fitted, TrainPipeline
from kepler_train.train.raised import current_traceback
from kepler_train.train.shapes import SHAPES

logger = logging.getLogger("kepler_train")

_ANY_NODE = "any"
_LONGEST_NOTE = 500


def add_whole_node(pipeline: TrainPipeline, batches: Batches) -> tuple[str, ...]:
    """Fit and write a pipeline's model of the whole node; returns what a person should know of it.

    The model of pods is what was asked for: where this one cannot be made, there is a note and no folder.
    """
    folder = pipeline.folder / NODE_MODEL_FOLDER
    try:
        write_model(pipeline, fit_whole_node(pipeline, batches), folder)
    except Exception as cause:  # noqa: BLE001 (whatever the window holds, the model of pods is not lost for it)
        logger.warning("no model of the whole node\n%s", current_traceback())
        shutil.rmtree(folder, ignore_errors=True)
        return (f"no model of the whole node: {type(cause).__name__}: {cause}"[:_LONGEST_NOTE],)
    return ()


def fit_whole_node(pipeline: TrainPipeline, batches: Batches) -> Fitted:
    """Fit the node's energy to the sums of its pods, as a model of the pipeline's class over the pipeline's features.

    `batches` give node intervals with the pod rows' numeric features, in whatever order. Raises what a fit raises.
    """
    features = list(pipeline.features)
    numeric = tuple(feature for feature in features if feature != ARCHITECTURE)
    by_architecture = ARCHITECTURE in features
    fit = fit_additive(
        lambda: (_summed(batch, numeric, by_architecture=by_architecture) for batch in batches()),
        numeric,
        SHAPES[pipeline.group],
        by_architecture=by_architecture,
    )
    category = features.index(ARCHITECTURE) if by_architecture else None
    layers = _layers(fit, category)
    model = layers.keras() if pipeline.model_class == "keras" else layers.scikit()
    return Fitted(model=model, scaler=layers.scaler)


def _summed(batch: IntervalBatch, numeric: tuple[str, ...], *, by_architecture: bool) -> IntervalBatch:
    """The batch with one row an interval, of one node that stands for all that share an idle energy."""
    held = [feature for feature in batch.features if feature != ARCHITECTURE]
    pods = batch.pods[:, [held.index(feature) for feature in numeric]]
    node = batch.cpu_architecture if by_architecture else _ANY_NODE
    return replace(
        batch,
        node=node,
        cpu_architecture=node,
        features=numeric,
        pods=sum_by_interval(batch.starts, np.ascontiguousarray(pods.T)).T,
        starts=np.arange(len(batch) + 1),
    )


def _layers(fit: AdditiveFit, category: int | None) -> Layers:
    idle = fit.idle_millijoules
    if category is None:
        return layers_of(_with_idle(fit.pooled, idle[_ANY_NODE]))
    own = {name: _with_idle(network, idle[name]) for name, network in fit.by_architecture.items()}
    return layers_by_architecture(own, _with_idle(fit.pooled, sum(idle.values()) / len(idle)), category)


def _with_idle(network: ReluNetwork, idle_millijoules: float) -> ReluNetwork:
    """Add a unit that is 1 whatever it is asked, and so gives the idle energy."""
    return ReluNetwork(
        scale=network.scale,
        weights=np.hstack([network.weights, np.zeros((len(network.scale), 1))]),
        offsets=np.append(network.offsets, -1.0),
        outputs=np.append(network.outputs, idle_millijoules),
    )
