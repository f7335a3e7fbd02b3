"""Judging a candidate's model of the whole node: asked with the sum of the node's pods, against what it measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.features import ARCHITECTURE
from kepler_train.contract.models import ABS_POWER, WholeNode
from kepler_train.contract.parts import IntervalBatch, Part, interval_batches
from kepler_train.estimators.archive import estimator_of
from kepler_train.estimators.d351cbf import Model, Request, load
from kepler_train.estimators.stock import require_stock
from kepler_train.evaluate.archives import archive_of, ask
from kepler_train.evaluate.balance import Balance
from kepler_train.evaluate.comparison import compare
from kepler_train.evaluate.predictions import Floats, read_predictions, write_predictions
from kepler_train.evaluate.scores import CANDIDATE, CONSTANT, Tally

_FAR_BEYOND = 10.0
"""How many times the work of the held-out part a node must still get a finite energy for."""


def judge(folder: Path, model_name: str, part_folder: Path, part: Part, scratch: Path) -> WholeNode:
    """Ask the model of the whole node in a folder as later estimators do, and score it on a held-out part."""
    try:
        require_stock(folder, model_name)
        model = load(folder, served_as=model_name)
        _ask(folder, model, next(interval_batches(part_folder)))
        write_predictions(lambda batch: model.power_array(_sums(batch, model)), part_folder, scratch)
    except NotLoadable as cause:
        return WholeNode(usable=False, reason=str(cause))
    return _decide(scratch, part)


def _ask(folder: Path, model: Model, batch: IntervalBatch) -> None:
    """Ask for a node that does what a busy node did, nothing, and far more: one row each, and a number for each."""
    sums = _sums(batch, model)[[np.argmax(batch.energy_millijoules)]]
    numeric = [index for index, feature in enumerate(model.metadata.features) if feature != ARCHITECTURE]
    with estimator_of({ABS_POWER: archive_of(folder, ABS_POWER)}) as estimator:
        for scale in (1.0, 0.0, _FAR_BEYOND):
            rows = sums.copy()
            rows[:, numeric] = rows[:, numeric] * scale
            answer = ask(estimator, ABS_POWER, model.metadata.features, rows)
            if not isinstance(answer, float):
                raise NotLoadable(f"{model.metadata.model_name} answers {answer!r} for a whole node, not a number")


def _sums(batch: IntervalBatch, model: Model) -> Request:
    """The rows, (k, n), that an exporter would send for each interval's node."""
    numeric = [feature for feature in batch.features if feature != ARCHITECTURE]
    columns = dict(zip(numeric, batch.sum_over_pods(batch.pods).T, strict=True))
    missing = [feature for feature in model.metadata.features if feature not in batch.features]
    if missing:
        raise NotLoadable(f"{model.metadata.model_name} asks for {', '.join(missing)}: not features of its group")
    if ARCHITECTURE in model.metadata.features:
        columns[ARCHITECTURE] = np.full(len(batch), batch.cpu_architecture, dtype=object)
    return np.column_stack([columns[feature] for feature in model.metadata.features])


def _decide(predictions: Path, part: Part) -> WholeNode:
    balance = Balance(lambda: read_predictions(predictions))
    tally, constant = Tally((CANDIDATE, CONSTANT)), _constant(part)
    for batch in read_predictions(predictions):
        measured: Floats = batch.measured_millijoules
        predicted = np.stack([batch.predicted_millijoules, np.full(len(measured), constant)])
        tally.add(measured, predicted, balance.standing(batch.node, measured), batch.block_start_seconds)
    comparison = compare(tally, CONSTANT)
    return WholeNode(
        usable=comparison.improved,
        reason=(
            f"{comparison.candidate_mape_percent:.1f} % against {comparison.reference_mape_percent:.1f} % for one "
            f"constant for all nodes, {'better by more than noise' if comparison.improved else 'not better than noise'}"
        ),
        score=tally.score(CANDIDATE),
        constant=tally.score(CONSTANT),
    )


def _constant(part: Part) -> float:
    """The mean energy of a training interval over all nodes: nodes count by their held-out intervals."""
    nodes = part.nodes.values()
    return sum(node.mean_millijoules * node.node_intervals for node in nodes) / sum(n.node_intervals for n in nodes)
