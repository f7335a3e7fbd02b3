"""The curve f(x) of a candidate for a page: one request, along the line from no activity through the mean pod."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kepler_train.contract.curves import PodCurve
from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.features import ARCHITECTURE
from kepler_train.contract.models import Candidate
from kepler_train.contract.parts import Part, interval_batches
from kepler_train.estimators.d351cbf import Model
from kepler_train.evaluate.predictions import Floats

POINTS = 41


def pod_curve(model: Model, candidate: Candidate, part_folder: Path, part: Part) -> PodCurve:
    """Ask for one pod at ever more activity, up to the largest held-out value of the feature that energy follows.

    Features of pods go together, so one cannot be varied alone: all others are in proportion to it as in the mean pod
    row. The line leaves the rows that were held out, so a model that fails on it is no worse for that; the curve says
    why there is none.
    """
    numeric = [feature for feature in part.features if feature != ARCHITECTURE]
    mean, largest = _mean_and_largest(part_folder, part, len(numeric))
    split = candidate.split_evidence
    order = sorted(range(len(numeric)), key=lambda at: split is None or numeric[at] != split.feature)
    varied = next((at for at in order if largest[at] > 0), None)
    if varied is None:
        return PodCurve(problem="no held-out pod did anything that these features show")
    values = np.linspace(0, largest[varied], POINTS)
    rows = dict(zip(numeric, np.outer(mean / mean[varied], values), strict=True))
    architecture = _commonest_architecture(part) if ARCHITECTURE in part.features else ""
    columns = [
        np.full(POINTS, architecture, dtype=object) if feature == ARCHITECTURE else rows[feature]
        for feature in model.metadata.features
    ]
    try:
        powers = model.powers(np.column_stack(columns))
    except NotLoadable as cause:
        return PodCurve(feature=numeric[varied], problem=str(cause))
    return PodCurve(
        feature=numeric[varied],
        mean=float(mean[varied]),
        cpu_architecture=architecture,
        values=tuple(values.tolist()),
        millijoules=tuple(map(float, powers)),
    )


def _mean_and_largest(part_folder: Path, part: Part, features: int) -> tuple[Floats, Floats]:
    total, largest = np.zeros(features), np.zeros(features)
    for batch in interval_batches(part_folder):
        total += batch.pods.sum(axis=0)
        largest = np.maximum(largest, batch.pods.max(axis=0, initial=0))
    return total / max(part.pod_rows, 1), largest


def _commonest_architecture(part: Part) -> str:
    pod_rows: dict[str, int] = {}
    for node in part.nodes.values():
        pod_rows[node.cpu_architecture] = pod_rows.get(node.cpu_architecture, 0) + node.pod_rows
    return max(pod_rows, key=lambda name: pod_rows[name])
