"""The last gate, for a candidate that is better: an estimator starts with the folder that would be published.

It lists the folder, chooses the model by its published errors, and is asked over its socket, JSON for JSON.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.models import (
    METADATA_FILE,
    MODEL_FOLDER,
    Candidate,
    Decision,
    Gate,
    Score,
    checksums_of,
    flat_name,
)
from kepler_train.contract.parts import Part
from kepler_train.estimators.d351cbf import load
from kepler_train.estimators.folder_estimator import FolderEstimator, request_for
from kepler_train.estimators.model_folder import with_errors, with_name
from kepler_train.estimators.unix_socket import ask, listening
from kepler_train.evaluate.gates import some_pods

SERVED = "served"

PODS = 100


def prove(decision: Decision, candidate: Path, described: Candidate, part_folder: Path, part: Part) -> Decision:
    """Let an improved candidate pass the last gate, and note the files that did; any other decision stays as it is."""
    if not decision.improved or decision.candidate is None:
        return decision
    try:
        _serve(candidate / MODEL_FOLDER, described, decision.candidate, part_folder, part)
        gate = Gate(SERVED, passed=True, detail="as it would be published, by an estimator, over its socket")
    except NotLoadable as cause:
        gate = Gate(SERVED, passed=False, detail=str(cause))
    return msgspec.structs.replace(
        decision,
        improved=gate.passed,
        reason=decision.reason if gate.passed else f"{decision.reason}, but {gate.detail}",
        gates=(*decision.gates, gate),
        judged_files=checksums_of(candidate),
    )


def _serve(model_folder: Path, described: Candidate, score: Score, part_folder: Path, part: Part) -> None:
    """Ask for many pods and for one; raises NotLoadable where it answers not at all, or not as when it was judged."""
    model = load(model_folder, described.model_name)
    pods = some_pods(model, part_folder, part)[:PODS]
    name = flat_name(described.group, described.model_name)
    with tempfile.TemporaryDirectory() as models:
        folder = shutil.copytree(model_folder, Path(models) / name)
        (folder / METADATA_FILE).write_bytes(with_name(with_errors((folder / METADATA_FILE).read_bytes(), score), name))
        with listening(FolderEstimator(Path(models))) as socket:
            for rows in (pods, pods[:1]):
                powers = ask(socket, request_for(described.features, rows))
                if not np.allclose(powers, model.power_array(rows), rtol=1e-9):
                    raise NotLoadable(f"{name} answers {powers} over the socket, not as when it was judged")
