"""The step `train`: a training part and the name of a pipeline to a candidate."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TextIO

import msgspec

from kepler_train.contract.errors import BrokenContract, NoData, PipelineError, WrongUsage
from kepler_train.contract.models import LOG_FILE, MODEL_FOLDER, NODE_MODEL_FOLDER, Candidate, read_candidate
from kepler_train.contract.parts import Part, interval_batches, read_part
from kepler_train.contract.runtimes import CURRENT, require_runtime, runtime_here
from kepler_train.train import registry
from kepler_train.train.copied_process import in_a_copy
from kepler_train.train.raised import current_traceback, said_by
from kepler_train.train.registry import Entry

if TYPE_CHECKING:
    from kepler_train.estimators.d351cbf import Request
    from kepler_train.train.pipeline import TrainPipeline

logger = logging.getLogger("kepler_train")

_CHECKED_POD_ROWS = 100


def run(training_part: Path, pipeline: str, out: Path, runtime: str = CURRENT) -> Candidate:
    """Train one pipeline, such as `CounterOnly/concave`, and write the candidate to the folder `out`.

    A class that fails — it cannot be imported, raises, ends its process, leaves no usable model — is a candidate with
    status `failed`, a reason, and the traceback in `train.log`. It is trained in a copy of this process; see
    `in_a_copy`.

    Raises WrongUsage for a pipeline that nobody knows, or where this interpreter is not the runtime; BrokenContract for
    a part that cannot be read.
    """
    from kepler_train.train.candidate import write_candidate

    require_runtime(runtime)
    entry = registry.find(pipeline)
    part = read_part(training_part)
    if part.group is not entry.group:
        raise WrongUsage(f"{pipeline} cannot train on a part of {part.group.value}; assemble {entry.group.value}")
    attempt = _Attempt(training_part, part, entry, out)
    if ended := in_a_copy(lambda: train(training_part, part, entry, out)):
        out.mkdir(parents=True, exist_ok=True)
        with _log_to(out / LOG_FILE):
            logger.error("train %s failed: its process %s", entry, ended)
            write_candidate(attempt.failed(PipelineError(f"its process {ended}")), out)
    return read_candidate(out)


def train(training_part: Path, part: Part, entry: Entry, out: Path) -> Candidate:
    """Train an entry on a part of its group; as `run`, but in this process, which a class may end."""
    from kepler_train.train.candidate import write_candidate

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    attempt = _Attempt(training_part, part, entry, out)
    with _log_to(out / LOG_FILE):
        logger.info("train %s: %d pod rows in %d node intervals", entry, part.pod_rows, part.node_intervals)
        try:
            candidate = attempt.candidate()
            write_candidate(candidate, out)
            logger.info("train %s: done in %.1f s", entry, candidate.train_seconds)
        except BrokenContract:
            raise
        except (Exception, SystemExit) as cause:  # noqa: BLE001 (whatever an author's class does is a recorded result)
            logger.error("train %s failed\n%s", entry, current_traceback())  # noqa: TRY400
            candidate = attempt.failed(cause)
            write_candidate(candidate, out)
    return candidate


@dataclass
class _Attempt:
    """One training, and how far it got."""

    training_part: Path
    part: Part
    entry: Entry
    out: Path
    pipeline: TrainPipeline | None = None
    notes: tuple[str, ...] = ()
    started: float = field(default_factory=monotonic)

    def candidate(self) -> Candidate:
        """Train, check what was written, and describe it."""
        from kepler_train.train.additive.survey import survey
        from kepler_train.train.candidate import check_model, describe
        from kepler_train.train.whole_node import add_whole_node

        self.pipeline = self.entry.load()(self.out)
        if not self.part.node_intervals:
            raise NoData(" ".join(self.part.notes))
        self._train(self.pipeline)
        called = f"{self.pipeline.group.value}/{self.pipeline.model_name}"
        if called != str(self.entry):
            raise PipelineError(
                f"train made {self.entry} call itself {called}, whose place it might take; leave model_name as "
                "the class declares it, and say more in the notes of Fitted"
            )
        seconds = monotonic() - self.started
        check_model(self.pipeline, self._request(self.pipeline))
        candidate = describe(self.pipeline, self.part.window, self._trained_on(self.pipeline), seconds)
        if not candidate.idle_millijoules:
            quiet = survey(interval_batches(self.training_part)).idle
            candidate = msgspec.structs.replace(
                candidate,
                idle_millijoules={node: estimate.millijoules for node, estimate in quiet.items()},
                idle_evidence={node: estimate.evidence for node, estimate in quiet.items()},
            )
            self.notes += ("idle energies are estimated from quiet intervals, since the class gave none",)
        self.notes += add_whole_node(self.pipeline, lambda: interval_batches(self.training_part))
        return msgspec.structs.replace(
            candidate, split_evidence=self.part.split_evidence, notes=candidate.notes + self.notes
        )

    def failed(self, cause: BaseException) -> Candidate:
        """Describe a training that failed; what it has written of a model is taken away."""
        from kepler_train.train.candidate import runtime

        for folder in (MODEL_FOLDER, NODE_MODEL_FOLDER):
            shutil.rmtree(self.out / folder, ignore_errors=True)
        declared = self.pipeline
        return Candidate(
            run_id=self.part.window.run_id,
            window=self.part.window,
            group=self.entry.group,
            model_name=self.entry.model_name,
            model_class=declared.model_class if declared else "",
            features=tuple(declared.features) if declared else self.entry.group.features,
            status="failed",
            reason=f"{self.entry.target}: {said_by(cause)}",
            runtime_name=runtime_here(),
            runtime=runtime(),
            train_seconds=monotonic() - self.started,
            notes=self.notes,
        )

    def _train(self, pipeline: TrainPipeline) -> None:
        from kepler_train.train.pipeline import StreamingPipeline

        if isinstance(pipeline, StreamingPipeline):
            pipeline.update(pipeline.fit(lambda: pipeline.in_own_order(interval_batches(self.training_part))))
            return
        from kepler_train.train.frames import frames_of

        frames, self.notes = frames_of(self.training_part, pipeline.max_pod_rows)
        for note in self.notes:
            logger.info("train %s: %s", self.entry, note)
        try:
            pipeline.train(*frames)
        except BrokenContract as cause:  # of the class's own making: the part has been read by now
            raise PipelineError(str(cause)) from cause

    def _trained_on(self, pipeline: TrainPipeline) -> dict[str, int]:
        """What the fit saw: the aligned rows where the class asked for them, else the part."""
        part = {
            "pod_rows": self.part.pod_rows,
            "node_intervals": self.part.node_intervals,
            "blocks": self.part.blocks,
        }
        return pipeline.trained_on or part

    def _request(self, pipeline: TrainPipeline) -> Request:
        """What an estimator might ask: some pod rows of the part, features in the model's order."""
        batch = next(batch for batch in interval_batches(self.training_part) if len(batch.pods))
        order = [batch.features.index(feature) for feature in pipeline.features]
        return batch.request()[:_CHECKED_POD_ROWS, order]


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Keep progress, and what a class prints, in a file; progress is also shown where it was shown before."""
    level = logger.level
    # Line by line, so that what a class said before its process ended is there.
    with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as file:
        log = _Log(file)
        handler = logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        if not logger.isEnabledFor(logging.INFO):
            logger.setLevel(logging.INFO)
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Log(io.TextIOBase):
    """Writes to a file until that is closed, and then to where errors go: libraries keep the stream they first saw."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return (sys.__stderr__ or self._file).write(text) if self._file.closed else self._file.write(text)
