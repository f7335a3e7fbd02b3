"""The unified training pipeline format: what a model author's class declares and does.

An author writes what differs — which model, how it is fitted. What all share is here: aligning samples, keeping what is
held out away from the fit, writing the files that an estimator reads, comparing with the champion.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from kepler_train.contract.errors import PipelineError, WrongUsage
from kepler_train.contract.evidence import IdleEvidence
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup, group_of
from kepler_train.contract.models import MODEL_CLASSES, MODEL_FOLDER, Decision
from kepler_train.contract.parts import IntervalBatch
from kepler_train.contract.window import RecordingSource, Window

if TYPE_CHECKING:
    import pandas as pd

    from kepler_train.train.training_part import TrainingPart

Batches = Callable[[], Iterator[IntervalBatch]]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Fitted:
    """What a fit leaves: the parts of a model in the order in which an estimator applies them."""

    model: Any
    """Its `predict` gives one number ≥ 0 per row, float64, in mJ per interval."""
    scaler: Any
    """Its `transform` takes the request: (m, n), a row per pod, the class's features in their order."""
    transformers: Mapping[str, Any] = field(default_factory=dict)
    """File name (`….pkl`) to a further transformer, applied in order after the scaler."""
    idle_millijoules: Mapping[str, float] = field(default_factory=dict)
    """Node to its energy per interval when no pod does anything. Left out: estimated from quiet intervals."""
    idle_evidence: Mapping[str, IdleEvidence] = field(default_factory=dict)
    """Node to how sure that is, where the class knows."""
    identifiability: Mapping[str, float] = field(default_factory=dict)
    """Measures, by name, of how well the samples tell pods apart."""
    notes: Sequence[str] = ()
    """What a person should know of this fit: one or several sentences."""


class ModelUpdater(Protocol):
    """Compares a candidate with the champion, and publishes it if it is better."""

    def update(self, candidate: Path, held_out_part: Path) -> Decision:
        """Decide on a candidate's folder by a held-out part's folder."""


class TrainPipeline(ABC):
    """A training pipeline: declare the four attributes, write `train`.

    Raises PipelineError where an attribute breaks the format, WrongUsage where the features are of no group.
    """

    model_name: ClassVar[str]
    """Unique in the feature group; also a folder's name."""
    model_class: ClassVar[str]
    """`scikit` or `keras`."""
    model_file: ClassVar[str]
    """`model.sav` or `model.h5`."""
    features: ClassVar[Sequence[str]]
    """The features of one of the six groups, in the order in which the model takes them."""
    max_pod_rows: ClassVar[int] = 200_000
    """The most pod rows that `train` can take as data frames; a larger window is sampled by whole blocks of time."""

    def __init__(self, folder: Path | None = None, store: ModelUpdater | None = None) -> None:
        """Make a pipeline that writes to `folder` and, given a `store`, updates its champion.

        Without a folder it has one of its own, which goes when the pipeline does.
        """
        self.group = check_declaration(type(self))
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix=f"{self.model_name}-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder
        self.store = store
        self.fitted: Fitted | None = None
        self.decision: Decision | None = None
        """What was decided on the last update, where a store was given."""
        self._training_part: TrainingPart | None = None
        self._held_out: TrainingPart | None = None
        self._started = monotonic()

    @property
    def model_folder(self) -> Path:
        """Where the estimator's files are written: metadata.json, scaler.pkl, the model file; a folder that is there.

        Raises PipelineError for a class that writes them itself and was given a store: only `update` compares.
        """
        if self.store is not None and self.fitted is None:
            raise PipelineError(
                f"{self.model_name} was given a store, and only self.update(Fitted(...)) compares with what is served "
                "there; call that instead of writing to self.model_folder, or give no store"
            )
        folder = self.folder / MODEL_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @abstractmethod
    def train(
        self,
        pod_stat_data: pd.DataFrame,
        node_stat_data: pd.DataFrame,
        freq_data: pd.DataFrame,
        pkg_data: pd.DataFrame,
    ) -> Decision | None:
        """Train, and update the trained model and its metadata if improved.

        Frames have the columns of the exporter's tables (see docs/define-a-pipeline.md); `freq_data` and `pkg_data` may
        be empty. Ends with `return self.update(Fitted(...))`.
        """

    def training_part(
        self,
        pod_stat_data: pd.DataFrame,
        node_stat_data: pd.DataFrame,
        freq_data: pd.DataFrame,
        pkg_data: pd.DataFrame,
    ) -> TrainingPart:
        """Align pod rows with their node's measured energy, without the blocks of time that are held out.

        Raises PipelineError for frames without the columns or without times, NoData where nothing is left to train on.
        """
        from kepler_train.train.training_part import aligned, parts_of

        del freq_data  # of no group's features; taken so that both methods are called alike
        self._started = monotonic()
        intervals = aligned(pod_stat_data, node_stat_data, pkg_data, tuple(self.features))
        self._training_part, self._held_out = parts_of(intervals)
        return self._training_part

    def update(self, fitted: Fitted) -> Decision | None:
        """Write the candidate; given a store, compare it with the champion there and publish it if it is better."""
        from kepler_train.train.candidate import write_model
        from kepler_train.train.safe_form import write_safe_form

        if not fitted.idle_millijoules and self._training_part is not None:
            idle = self._training_part.idle()
            fitted = replace(
                fitted,
                idle_millijoules={node: estimate.millijoules for node, estimate in idle.items()},
                idle_evidence={node: estimate.evidence for node, estimate in idle.items()},
            )
        write_model(self, fitted, self.folder / MODEL_FOLDER)
        write_safe_form(fitted, self.model_class, self.folder)
        self.fitted = fitted
        if self.store is not None:
            self.decision = self._compare(self.store)
        return self.decision

    @property
    def trained_on(self) -> dict[str, int]:
        """What `training_part` gave to the fit: pod rows, node intervals, blocks; empty if it was not asked."""
        return self._training_part.counts() if self._training_part is not None else {}

    def _compare(self, store: ModelUpdater) -> Decision:
        from kepler_train.train.candidate import describe, write_candidate
        from kepler_train.train.held_out_part import write_held_out
        from kepler_train.train.whole_node import add_whole_node

        if self._training_part is None or self._held_out is None:
            raise PipelineError(
                f"{self.model_name} was given a store but never asked for training_part, so nothing is held out to "
                "compare on; call self.training_part(...) in train"
            )
        now = datetime.now(timezone.utc)
        window = Window(run_id=f"alone-{now:%Y%m%dT%H%M%SZ}", source=RecordingSource(files=()))
        seconds = monotonic() - self._started
        candidate = describe(self, window, self.trained_on, seconds)
        notes = candidate.notes + add_whole_node(self, self._training_part.batches)
        write_candidate(msgspec.structs.replace(candidate, notes=notes), self.folder)
        with tempfile.TemporaryDirectory() as temporary:
            held_out = Path(temporary) / "held_out"
            write_held_out(self._held_out, self._training_part, self.group, window, held_out)
            return store.update(self.folder, held_out)


class StreamingPipeline(TrainPipeline):
    """A training pipeline that reads node intervals batch by batch, in memory that does not grow with the window."""

    @abstractmethod
    def fit(self, batches: Batches) -> Fitted:
        """Fit to what `batches()` gives, as often as asked for: node intervals with the pod rows' numeric features.

        Columns of `batch.pods` are the class's features in their order, without `cpu_architecture`, which is the
        batch's.
        """

    def train(
        self,
        pod_stat_data: pd.DataFrame,
        node_stat_data: pd.DataFrame,
        freq_data: pd.DataFrame,
        pkg_data: pd.DataFrame,
    ) -> Decision | None:
        """Train from data frames as from batches."""
        training = self.training_part(pod_stat_data, node_stat_data, freq_data, pkg_data)
        return self.update(self.fit(training.batches))

    @property
    def numeric_features(self) -> tuple[str, ...]:
        """The names of the batches' columns."""
        return tuple(feature for feature in self.features if feature != ARCHITECTURE)

    def in_own_order(self, batches: Iterator[IntervalBatch]) -> Iterator[IntervalBatch]:
        """Put the columns of batches into the order of this class's features."""
        for batch in batches:
            held = [feature for feature in batch.features if feature != ARCHITECTURE]
            if tuple(held) == self.numeric_features:
                yield batch
            else:
                order = [held.index(feature) for feature in self.numeric_features]
                yield replace(batch, features=tuple(self.features), pods=batch.pods[:, order])


def check_model_name(owner: str, model_name: object) -> None:
    """Refuse what cannot be a model's name; raises PipelineError, which names the owner."""
    if not isinstance(model_name, str) or not _NAME.fullmatch(model_name):
        raise PipelineError(
            f"{owner}: model_name {model_name!r} cannot be a folder's name; use up to 64 letters, digits, "
            "'.', '_' and '-', a letter or digit first"
        )


def check_declaration(pipeline: type[TrainPipeline]) -> FeatureGroup:
    """Check what a class declares and find its feature group.

    Raises PipelineError where an attribute breaks the format, WrongUsage, with the six groups, for other features.
    """
    name = pipeline.__qualname__
    for attribute in ("model_name", "model_class", "model_file", "features"):
        value = getattr(pipeline, attribute, None)
        if value is None or (isinstance(value, Sequence) and not value):
            raise PipelineError(f"{name} declares no {attribute}; give it as a class attribute")
    check_model_name(name, pipeline.model_name)
    if not isinstance(pipeline.model_class, str) or pipeline.model_class not in MODEL_CLASSES:
        raise PipelineError(f"{name}: model_class {pipeline.model_class!r} is not {' or '.join(MODEL_CLASSES)}")
    expected = MODEL_CLASSES[pipeline.model_class]
    if not isinstance(pipeline.model_file, str) or pipeline.model_file != expected:
        raise PipelineError(
            f"{name}: model_file {pipeline.model_file!r} does not go with model_class {pipeline.model_class!r}; "
            f"use {expected!r}"
        )
    if not isinstance(pipeline.max_pod_rows, int) or pipeline.max_pod_rows < 1:
        raise PipelineError(f"{name}: max_pod_rows {pipeline.max_pod_rows!r} is no positive whole number")
    features = pipeline.features
    named = isinstance(features, Sequence) and all(isinstance(feature, str) for feature in features)
    if isinstance(features, str) or not named:
        raise PipelineError(f"{name}: features {features!r} is not a sequence of names; give a list of them")
    try:
        return group_of(features)
    except WrongUsage as cause:
        raise WrongUsage(f"{name}: {cause}") from cause
