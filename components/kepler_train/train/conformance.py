"""The contract suite: what any training pipeline has to do to be trained, published and served, checked on a class.

`kepler-train check-pipeline MODULE:CLASS` runs it for authors; the tests run it over every shipped pipeline.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kepler_train.contract.errors import KeplerTrainError, NotLoadable
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.models import MODEL_FOLDER, Candidate, read_candidate
from kepler_train.contract.parts import interval_batches, read_part
from kepler_train.estimators.d351cbf import FAR_BEYOND, Model, Request, load, scaled
from kepler_train.train import synthetic
from kepler_train.train.copied_process import in_a_copy
from kepler_train.train.pipeline import TrainPipeline, check_declaration
from kepler_train.train.registry import Entry, class_named, pipelines_of
from kepler_train.train.step import train

TRAINS = "trains and leaves a model that an estimator can use"
REPEATABLE = "gives the same when trained again"
MANY_PODS = 1_000
LARGEST_AT_REST = 0.02
"""Of the mean power of a pod: what a pod that does nothing may be given."""
_SAME = 1e-6


@dataclass(frozen=True)
class Check:
    """One thing a training pipeline has to do, and whether it does."""

    name: str
    passed: bool
    detail: str = ""
    """What was found; where it did not pass, also what to do."""


def check(target: str, training_part: Path | None = None) -> list[Check]:
    """Check a class, `module:Class`, on a small synthetic part, or on the part given.

    Stops after the first check that did not pass where the following need it.
    """
    try:
        pipeline = class_named(target)
        group = check_declaration(pipeline)
    except KeplerTrainError as cause:
        return [Check("declares a name, a class, a file and the features of a group", passed=False, detail=str(cause))]
    found = [
        Check("declares a name, a class, a file and the features of a group", passed=True, detail=group.value),
        _own_name(pipeline, group),
    ]
    with tempfile.TemporaryDirectory() as folder:
        part = training_part if training_part is not None else _synthetic_part(group, Path(folder) / "part")
        entry = Entry(group, pipeline.model_name, target, "the class given")
        if ended := in_a_copy(lambda: _train_twice(part, entry, Path(folder))):
            detail = f"its process {ended}; raise an error instead, which says what is wrong"
            return [*found, Check(TRAINS, passed=False, detail=detail)]
        first = read_candidate(Path(folder) / "first")
        remedy = first.reason and f"{first.reason}; run it in a debugger, or see the guideline's example"
        found.append(Check(TRAINS, first.status == "trained", remedy))
        if first.status != "trained":
            return found
        again = read_candidate(Path(folder) / "again")
        if again.status != "trained":
            return [*found, Check(REPEATABLE, passed=False, detail=f"the second time, {again.reason}")]
        models = [load(Path(folder) / name / MODEL_FOLDER, pipeline.model_name) for name in ("first", "again")]
        return found + _checks_of(models[0], models[1], first, part)


def _train_twice(part: Path, entry: Entry, folder: Path) -> None:
    if train(part, read_part(part), entry, folder / "first").status == "trained":
        train(part, read_part(part), entry, folder / "again")


def _own_name(pipeline: type[TrainPipeline], group: FeatureGroup) -> Check:
    name = "has a name that no other pipeline of its group has"
    try:
        others = [entry for entry in pipelines_of(group) if entry.model_name == pipeline.model_name]
        taken = [entry for entry in others if class_named(entry.target) is not pipeline]
    except KeplerTrainError as cause:
        return Check(name, passed=False, detail=str(cause))
    detail = "".join(f"{entry} is {entry.target} of {entry.origin}; choose another model_name" for entry in taken)
    return Check(name, not taken, detail)


def _synthetic_part(group: FeatureGroup, out: Path) -> Path:
    architectures = tuple(synthetic.ARCHITECTURE_FACTORS) if ARCHITECTURE in group.features else ("Broadwell",)
    synthetic.write_part(synthetic.cluster(architectures=architectures), group, out)
    return out


def _checks_of(model: Model, again: Model, candidate: Candidate, part: Path) -> list[Check]:
    request = _rows(candidate, part, MANY_PODS)
    checks: list[Callable[[], Check]] = [
        lambda: _one_pod(model, request),
        lambda: _many_pods(model, request),
        lambda: _row_by_row(model, request),
        lambda: _far_beyond(model, request),
        lambda: _at_rest(model, request),
        lambda: _repeatable(model, again, request),
        lambda: _adds_up(model, candidate, part),
        lambda: _idle(candidate, part),
    ]
    if ARCHITECTURE in candidate.features:
        checks.append(lambda: _new_architecture(model, request))
    return [_passed_or_not(one) for one in checks]


def _passed_or_not(one: Callable[[], Check]) -> Check:
    try:
        return one()
    except NotLoadable as cause:
        return Check("answers as an estimator needs", passed=False, detail=str(cause))


def _rows(candidate: Candidate, part: Path, count: int) -> Request:
    """Pod rows of the part as a request of the model, repeated until there are enough."""
    batch = next(batch for batch in interval_batches(part) if len(batch.pods))
    order = [batch.features.index(feature) for feature in candidate.features]
    return np.resize(batch.request(), (count, len(order)))[:, order]


def _one_pod(model: Model, request: Request) -> Check:
    model.powers(request[:1])
    return Check("answers for one pod", passed=True)


def _many_pods(model: Model, request: Request) -> Check:
    model.powers(request)
    return Check(f"answers for {MANY_PODS} pods", passed=True)


def _row_by_row(model: Model, request: Request) -> Check:
    together = model.power_array(request)
    alone = np.array([model.powers(request[row : row + 1])[0] for row in range(5)])
    backwards = model.power_array(request[::-1])[::-1]
    largest = max(_difference(together[:5], alone), _difference(together, backwards))
    return _check(
        "gives each pod the same, whoever else is asked about",
        largest < _SAME,
        f"answers differ by {100 * largest:.2g} %",
        "use a model that looks at each row alone",
    )


def _far_beyond(model: Model, request: Request) -> Check:
    model.power_array(scaled(request, FAR_BEYOND))
    return Check(f"answers for {FAR_BEYOND:.0f} times as much work", passed=True)


def _at_rest(model: Model, request: Request) -> Check:
    share = model.powers(scaled(request[:1], 0.0))[0] / max(
        float(model.power_array(request).mean()), np.finfo(np.float64).tiny
    )
    return _check(
        "gives nothing to a pod that does nothing",
        share <= LARGEST_AT_REST,
        f"gives it {100 * share:.2g} % of a mean pod",
        "fit without an intercept, and leave idle energy to the node",
    )


def _repeatable(model: Model, again: Model, request: Request) -> Check:
    difference = _difference(model.power_array(request), again.power_array(request))
    return _check(
        REPEATABLE,
        difference < _SAME,
        f"two trainings differ by {100 * difference:.2g} %",
        "fix the random seeds",
    )


def _adds_up(model: Model, candidate: Candidate, part: Path) -> Check:
    summary = read_part(part)
    errors, constant = [], []
    for batch in interval_batches(part):
        order = [batch.features.index(feature) for feature in candidate.features]
        powers = model.power_array(batch.request()[:, order])
        total = batch.sum_over_pods(powers) + candidate.idle_of(batch.node)
        errors.append(np.abs(total / batch.energy_millijoules - 1))
        constant.append(np.abs(summary.nodes[batch.node].mean_millijoules / batch.energy_millijoules - 1))
    mine, theirs = 100 * float(np.concatenate(errors).mean()), 100 * float(np.concatenate(constant).mean())
    return _check(
        "adds up over pods to the node better than a constant",
        mine < theirs,
        f"{mine:.1f} % off on the rows it was trained on, a constant {theirs:.1f} %",
        "fit to sums over a node's pods, and give the idle energy in Fitted",
    )


def _idle(candidate: Candidate, part: Path) -> Check:
    means = {node: summary.mean_millijoules for node, summary in read_part(part).nodes.items()}
    wrong = [node for node, mean in means.items() if not 0 <= candidate.idle_of(node) <= mean]
    return _check(
        "leaves each node an idle energy between none and what it uses",
        not wrong,
        f"negative or above the node's mean: {', '.join(wrong) or 'none'}",
        "give mJ per interval",
    )


def _new_architecture(model: Model, request: Request) -> Check:
    unseen = request[:10].copy()
    unseen[:, [isinstance(value, str) for value in unseen[0]]] = "never seen"
    model.powers(unseen)
    return Check("answers for a CPU architecture that it never saw", passed=True)


def _check(name: str, passed: bool, found: str, remedy: str) -> Check:
    return Check(name, passed, found if passed else f"{found}; {remedy}")


def _difference(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float(np.abs(one - other).max() / max(np.abs(one).max(), np.finfo(np.float64).tiny))
