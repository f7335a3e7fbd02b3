"""The shipped pipelines as a benchmark sees them: trained on rows in memory, asked as an estimator asks."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from benchmarks.accuracy.peers import Fit
from benchmarks.accuracy.rows import Floats, Rows

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.parts import IntervalBatch
from kepler_train.estimators.d351cbf import load
from kepler_train.train.pipeline import StreamingPipeline
from kepler_train.train.registry import Entry, find, pipelines_of

BASELINE = "linear"
"""Shipped to be compared with; targets are for the others."""


def shipped(group: FeatureGroup) -> tuple[Entry, ...]:
    """The group's shipped pipelines, in the registry's order."""
    return tuple(entry for entry in pipelines_of(group) if entry.origin == "kepler-train")


def judged(group: FeatureGroup) -> tuple[Entry, ...]:
    """The shipped pipelines that differ in what they answer: those for Keras are the same functions, laid out anew."""
    return tuple(entry for entry in shipped(group) if entry.load().model_class == "scikit")


def default_of(group: FeatureGroup, model_class: str = "scikit") -> Entry:
    """The group's first shipped pipeline of a model class that is not the baseline."""
    return next(
        entry for entry in shipped(group) if entry.model_name != BASELINE and entry.load().model_class == model_class
    )


def fit_shipped(group: FeatureGroup, name: str, rows: Rows) -> Fit:
    """Train a pipeline on a group's rows, write the estimator's files, and answer from what is read back."""
    with TemporaryDirectory() as folder:
        pipeline = find(f"{group.value}/{name}").load()(Path(folder))
        assert isinstance(pipeline, StreamingPipeline)
        pipeline.update(pipeline.fit(lambda: pipeline.in_own_order(iter(rows.batches))))
        model = load(pipeline.model_folder, name)
        assert pipeline.fitted is not None
        idle = dict(pipeline.fitted.idle_millijoules)
    order = [group.features.index(feature) for feature in pipeline.features]

    def pods(batch: IntervalBatch) -> Floats:
        return model.power_array(batch.request()[:, order]) if len(batch.pods) else np.zeros(0)

    return Fit(pods=pods, idle_millijoules=idle)
