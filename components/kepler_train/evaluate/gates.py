"""Conditions on a candidate besides being better: an estimator can use it, and it does not contradict physics."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.features import ARCHITECTURE
from kepler_train.contract.models import Candidate, Gate
from kepler_train.contract.parts import Part, interval_batches, read_part
from kepler_train.estimators.d351cbf import FAR_BEYOND, Model, Request, load, scaled
from kepler_train.estimators.stock import require_stock
from kepler_train.evaluate.archives import ask_for_pods
from kepler_train.evaluate.comparison import Comparison
from kepler_train.evaluate.predictions import predict, request_of

TRAINED = "trained"
LOADS = "loads"
ANSWERS = "answers"
ARCHIVED = "answers from an archive"
AT_REST = "pods at rest"
IDLE = "idle"
BEATS_CONSTANT = "beats a constant"

MOST_PODS = 1000
REST_SHARE = 0.05
"""Pods that do nothing may make up this share of what their node draws, not more."""
IDLE_MARGIN = 1.25
"""Idle may lie above a node's least energy by the errors of both: that is the least of many noisy means over a block.
One node in a hundred must not keep a model from the others."""


def try_candidate(
    candidate: Candidate, model_folder: Path, part_folder: Path, predictions: Path
) -> tuple[Model | None, tuple[Gate, ...]]:
    """Ask the candidate as an estimator would, and write what it predicts for the held-out part to `predictions`.

    Returns the model as loaded, None where it could not be asked at all, and the gates that it passed or not; after one
    that keeps it from being asked there are no others.
    """
    gates = [Gate(TRAINED, candidate.status == "trained", candidate.reason or "the fit came to its end")]
    if not gates[0].passed:
        return None, tuple(gates)
    try:
        require_stock(model_folder, candidate.model_name)
        model = load(model_folder, served_as=candidate.model_name)
        gates.append(Gate(LOADS, passed=True, detail="from its files, as an estimator loads them"))
        part = read_part(part_folder)
        gates.append(_answers(model, part_folder, part))
        gates.append(_archived(model_folder, model, part_folder, part))
        physics = (_at_rest(model, part), _idle(candidate, part))
        predict(model, candidate.idle_millijoules, part_folder, predictions)
    except NotLoadable as cause:
        failed = {1: LOADS, 3: ARCHIVED}.get(len(gates), ANSWERS)
        passed = [gate for gate in gates if gate.name != failed]
        return None, (*passed, Gate(failed, passed=False, detail=str(cause)))
    return model, (*gates, *physics)


def beats_constant(constant: Comparison, best_constant: Comparison) -> Gate:
    """The gate for knowing more than a constant does.

    A candidate must be better than the nodes' mean energy by more than noise, and no worse than any constant could have
    been: without the second, one that answers nothing but a well chosen idle would pass for a model.
    """
    gain, noise = constant.improvement_percent, constant.noise_percent
    return Gate(
        BEATS_CONSTANT,
        constant.improved and best_constant.improvement_percent > 0,
        f"error {gain:.1f} % (±{noise:.1f}) smaller than a constant's; "
        f"the best constant there could be has {best_constant.reference_mape_percent:.1f} %",
    )


def _answers(model: Model, part_folder: Path, part: Part) -> Gate:
    """Ask with a thousand pods, and with some of them alone: each must get the same power whoever else asks.

    Without that, held-out rows could not be scored many at a time, nor would the sum over pods mean anything. What an
    estimator is answered is compared once with what is scored, which is then asked in its place: it takes less time.
    """
    request = some_pods(model, part_folder, part)
    _beyond(model, request)
    together, first = np.array(model.powers(request)), model.powers(request[:1])
    if not np.allclose(together, model.power_array(request), rtol=1e-6, atol=0.1):
        raise NotLoadable(
            f"{model.metadata.model_name} gives pods other powers when it is scored than when an estimator asks; "
            "use layers that do the same for every row, every time"
        )
    rows = np.linspace(0, len(request) - 1, 8).astype(int)
    alone = np.array([model.power_array(request[row : row + 1])[0] for row in rows])
    if not np.allclose([together[0], *together[rows]], [*first, *alone], rtol=1e-4, atol=1.0):
        raise NotLoadable(
            f"{model.metadata.model_name} gives a pod another power alone than among others; "
            "an estimator asks with any number of pods, so predict row by row"
        )
    return Gate(ANSWERS, passed=True, detail="one pod or a thousand: a finite power for each, the same alone")


def _beyond(model: Model, request: Request) -> None:
    """Ask what no held-out row shows: far more work, on a processor that was never seen.

    One pod without a finite power leaves all pods of its node without an answer. What the powers are is not judged.
    """
    beyond = scaled(request, FAR_BEYOND)
    if ARCHITECTURE in model.metadata.features:
        beyond[:, list(model.metadata.features).index(ARCHITECTURE)] = "never seen"
    try:
        model.power_array(beyond)
    except NotLoadable as cause:
        raise NotLoadable(
            f"for {FAR_BEYOND:.0f} times as much work as was held out, or a processor that was never seen, {cause}; "
            "give every row a finite power, and take unknown categories"
        ) from cause


def _archived(model_folder: Path, model: Model, part_folder: Path, part: Part) -> Gate:
    ask_for_pods(model_folder, model, some_pods(model, part_folder, part))
    return Gate(ARCHIVED, passed=True, detail="fetched over HTTP, as by later estimators: the same powers")


def some_pods(model: Model, part_folder: Path, part: Part) -> Request:
    """A request of MOST_PODS held-out pods, repeated where there are fewer; of resting ones where there are none."""
    found: list[Request] = []
    for batch in interval_batches(part_folder):
        found.append(request_of(batch, model)[:MOST_PODS])
        if sum(map(len, found)) >= MOST_PODS:
            break
    rows = np.concatenate(found)
    if not len(rows):
        rows = np.concatenate([_resting(model, node.cpu_architecture) for node in part.nodes.values()])
    return rows[np.arange(MOST_PODS) % len(rows)]


def _resting(model: Model, architecture: str) -> Request:
    """A request of one pod that does nothing."""
    features = model.metadata.features
    row = [architecture if feature == ARCHITECTURE else 0.0 for feature in features]
    return np.array([row], dtype=object if ARCHITECTURE in features else np.float64)


def _at_rest(model: Model, part: Part) -> Gate:
    """What a node's pods would get if none of them did anything is idle energy, and belongs to the node."""
    architectures = {node.cpu_architecture for node in part.nodes.values()}
    answers = {architecture: model.powers(_resting(model, architecture))[0] for architecture in architectures}
    shares = {
        name: answers[node.cpu_architecture] * node.pod_rows / node.node_intervals / node.mean_millijoules
        for name, node in part.nodes.items()
    }
    node = max(shares, key=lambda name: shares[name])
    fact = f"a pod that does nothing gets {answers[part.nodes[node].cpu_architecture]:.0f} mJ, all such pods of {node} "
    fact += f"{100 * shares[node]:.1f} % of its energy"
    if shares[node] > REST_SHARE:
        return Gate(AT_REST, passed=False, detail=f"{fact}; what a node draws at rest is its idle, not its pods'")
    return Gate(AT_REST, passed=True, detail=fact)


def _idle(candidate: Candidate, part: Part) -> Gate:
    """Idle lies between nothing and the least that the node draws."""
    for name, node in part.nodes.items():
        idle = candidate.idle_of(name)
        if not math.isfinite(idle) or idle < 0:
            return Gate(IDLE, passed=False, detail=f"the idle energy of {name} is {idle:.0f} mJ; it cannot be negative")
        least, when = (node.least_millijoules, "in its quietest minute")
        if not least:
            least, when = (node.mean_millijoules, "on average")
        if name in candidate.idle_millijoules and idle > IDLE_MARGIN * least:
            fact = f"the idle energy of {name} is {idle:.0f} mJ, more than the {least:.0f} mJ it draws {when}"
            return Gate(IDLE, passed=False, detail=fact)
    return Gate(IDLE, passed=True, detail="between zero and the least that each node draws")
