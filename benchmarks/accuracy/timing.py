"""Part three: what training and inference cost, against the plainest models of the same libraries in the same run.

Times are CPU seconds of this process, since others may share the machine; contestants take turns.
"""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
from benchmarks.accuracy import targets, training_part
from benchmarks.accuracy.extent import Extent
from benchmarks.accuracy.rows import Floats, Rows
from benchmarks.accuracy.shipped import default_of
from benchmarks.figures import Report

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import METADATA_FILE, MODEL_CLASSES, MODEL_FOLDER, SCALER_FILE
from kepler_train.contract.parts import IntervalBatch, interval_batches, read_part
from kepler_train.estimators.d351cbf import Model, load
from kepler_train.train.pipeline import StreamingPipeline
from kepler_train.train.registry import Entry
from kepler_train.train.step import train

log = logging.getLogger("accuracy")

GROUP = FeatureGroup.COUNTER_ONLY
MORE_ROWS = 4
PODS = 100
_ASKED_AT_ONCE = {"scikit": 50, "keras": 5}
_INFERENCE_ROUNDS_PER_ROUND = 4


def measure(extent: Extent, report: Report) -> None:
    """Measure time and memory of training, then time of inference."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = training_part.simulated_rows(GROUP, extent.timed_pod_rows)
        training_part.write(rows, GROUP, 1, folder / "part")
        _training_time(rows, folder / "part", extent, report)
        training_part.write(rows, GROUP, MORE_ROWS, folder / "more")
        _training_memory(folder, report)
        for model_class in MODEL_CLASSES:
            _inference_time(model_class, rows, folder, extent, report)
        _same_answers(rows, folder, report)


def _training_time(rows: Rows, part: Path, extent: Extent, report: Report) -> None:
    from sklearn.linear_model import LinearRegression

    entry = default_of(GROUP)
    target = np.concatenate([np.repeat(b.energy_millijoules, np.diff(b.starts)) for b in rows.batches])
    pods = rows.pods

    def from_disk() -> Floats:
        return np.concatenate([batch.pods for batch in interval_batches(part)])

    contests: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "rows in memory": (
            lambda: _fit(entry, lambda: iter(rows.batches)),
            lambda: LinearRegression().fit(pods, target),
        ),
        "rows on disk": (
            lambda: _fit(entry, lambda: interval_batches(part)),
            lambda: LinearRegression().fit(from_disk(), target),
        ),
    }
    table = f"training {GROUP.value}/{entry.model_name} on {rows.pod_rows:,} pod rows"
    for name, contest in contests.items():
        own, other = _take_turns(contest, extent.timed_rounds)
        report.add(table, name, "CPU s", own, unit="s")
        report.add(table, name, "LinearRegression, CPU s", other, unit="s")
        report.add(table, name, "times", own / other, unit="times", at_most=targets.TRAINING_TIMES)
    log.info("timing: training done")


def _fit(entry: Entry, batches: Callable[[], Iterator[IntervalBatch]]) -> None:
    with TemporaryDirectory() as folder:
        pipeline = entry.load()(Path(folder))
        assert isinstance(pipeline, StreamingPipeline)
        pipeline.fit(lambda: pipeline.in_own_order(batches()))


def _training_memory(folder: Path, report: Report) -> None:
    entry = default_of(GROUP)
    peaks = [_peak_megabytes(folder / part, entry) for part in ("part", "more")]
    table = f"peak memory of training {GROUP.value}/{entry.model_name}, a process of its own"
    report.add(table, "1 × rows", "MB", peaks[0], unit="MB")
    report.add(table, f"{MORE_ROWS} × rows", "MB", peaks[1], unit="MB")
    report.add(table, f"{MORE_ROWS} × rows", "times", peaks[1] / peaks[0], unit="times", at_most=targets.MEMORY_TIMES)
    log.info("timing: memory done")


def _peak_megabytes(part: Path, entry: Entry) -> float:
    command = [sys.executable, "-m", "benchmarks.accuracy.peak_memory", str(part), str(entry)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    return float(done.stdout)


def _inference_time(model_class: str, rows: Rows, folder: Path, extent: Extent, report: Report) -> None:
    entry = default_of(GROUP, model_class)
    train(folder / "part", read_part(folder / "part"), entry, folder / model_class)
    own = load(folder / model_class / MODEL_FOLDER, entry.model_name)
    plain = _plain_model(model_class, rows, folder / f"plain-{model_class}")
    request, calls = rows.pods[:PODS], _ASKED_AT_ONCE[model_class]

    def ask(model: Model) -> Callable[[], Any]:
        return lambda: [model.powers(request) for _ in range(calls)]

    seconds = _take_turns((ask(own), ask(plain)), extent.timed_rounds * _INFERENCE_ROUNDS_PER_ROUND)
    table = f"inference of {PODS} pods through the estimator's own sequence"
    row = f"{GROUP.value}/{entry.model_name}"
    other = "scaled LinearRegression" if model_class == "scikit" else "Keras, one layer"
    limit = targets.INFERENCE_TIMES[model_class]
    report.add(table, row, "CPU ms", 1000 * seconds[0] / calls, unit="ms")
    report.add(table, other, "CPU ms", 1000 * seconds[1] / calls, unit="ms")
    report.add(table, row, "times", seconds[0] / seconds[1], unit="times", at_most=limit)
    log.info("timing: inference of %s done", model_class)


def _same_answers(rows: Rows, folder: Path, report: Report) -> None:
    """Compare the forms of the default: the parts before this judge one of them for all."""
    powers = [
        load(folder / model_class / MODEL_FOLDER, default_of(GROUP, model_class).model_name).power_array(
            rows.pods[: 100 * PODS]
        )
        for model_class in MODEL_CLASSES
    ]
    apart = float(np.abs(powers[0] - powers[1]).max() / powers[0].max())
    report.add(
        "the two forms of the default", " and ".join(MODEL_CLASSES), "apart, of the largest power", apart, unit=""
    )


def _plain_model(model_class: str, rows: Rows, folder: Path) -> Model:
    """The plainest model of a class, as the files of an estimator."""
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import MaxAbsScaler

    folder.mkdir()
    pods = rows.batches[0].pods
    scaler = MaxAbsScaler().fit(pods)
    model_file = MODEL_CLASSES[model_class]
    (folder / SCALER_FILE).write_bytes(pickle.dumps(scaler))
    if model_class == "keras":
        _one_layer(pods.shape[1]).save(str(folder / model_file), include_optimizer=False)
    else:
        model = LinearRegression().fit(scaler.transform(pods), pods[:, 0])
        (folder / model_file).write_bytes(pickle.dumps(model))
    metadata = {
        "model_name": folder.name,
        "model_class": model_class,
        "model_file": model_file,
        "features": list(GROUP.features),
    }
    (folder / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    return load(folder)


def _one_layer(inputs: int) -> Any:
    from keras import Input, Model, layers

    values = Input((inputs,), dtype="float64")
    total = layers.Dense(1, dtype="float64")(values)
    return Model(values, layers.Reshape((), dtype="float64")(total))


def _take_turns(contest: tuple[Callable[[], Any], Callable[[], Any]], rounds: int) -> tuple[float, float]:
    """Median CPU seconds of each of two contestants, which take turns; the first turn of each does not count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for contestant, taken in zip(contest, seconds, strict=True):
            began = process_time()
            contestant()
            if turn:
                taken.append(process_time() - began)
    return float(np.median(seconds[0])), float(np.median(seconds[1]))
