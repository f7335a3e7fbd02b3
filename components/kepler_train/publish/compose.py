"""From a candidate and its decision to the files of a version: what the estimator reads, and where it comes from."""

from __future__ import annotations

import json
import math
import shutil
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from kepler_train.contract.errors import BrokenContract, WrongUsage
from kepler_train.contract.models import (
    METADATA_FILE,
    MODEL_CLASSES,
    PROVENANCE_FILE,
    SCALER_FILE,
    Candidate,
    Decision,
    Provenance,
    Score,
)

_ESTIMATOR_KEYS = {"model_class", "model_name", "model_file", "features", "fe_files"}
"""Keys of the estimator's metadata that describe the model; the scores are added here."""


def compose(model: Path, candidate: Candidate, decision: Decision, into: Path) -> Provenance:
    """Put a version's files but its provenance into the new folder `into`, and return that provenance.

    The version's name begins with the run's id, so that versions sort by their runs, and ends in a checksum of the
    files and of the champion they were judged against: the same candidate published again is the same version.

    Raises WrongUsage where the decision is not to publish, BrokenContract where decision, candidate and files do not
    belong together or are no model of an estimator.
    """
    score = _approved_score(candidate, decision)
    metadata = _read_metadata(model, candidate)
    into.mkdir(parents=True)
    for file in _model_files(model, metadata):
        shutil.copyfile(file, into / file.name)
    (into / METADATA_FILE).write_text(json.dumps({**metadata, **_scores(score)}, indent=1, allow_nan=False))
    files = {file.name: sha256(file.read_bytes()).hexdigest() for file in sorted(into.iterdir())}
    content = json.dumps([files, decision.champion_version], sort_keys=True).encode()
    return Provenance(
        group=candidate.group,
        model_name=candidate.model_name,
        version=f"{candidate.run_id}-{sha256(content).hexdigest()[:8]}",
        parent=decision.champion_version,
        published=datetime.now(timezone.utc),
        candidate=candidate,
        decision=decision,
        files=files,
    )


def _approved_score(candidate: Candidate, decision: Decision) -> Score:
    name = f"{decision.group.value}/{decision.model_name}"
    if not decision.improved:
        raise WrongUsage(f"{name} is not to be published: {decision.reason}; publish only what improved")
    asked = (candidate.run_id, candidate.group, candidate.model_name)
    if (decision.run_id, decision.group, decision.model_name) != asked:
        raise BrokenContract(f"the decision is about {name} of another run or pipeline; give the candidate it judged")
    if candidate.status != "trained" or decision.candidate is None:
        raise BrokenContract(f"{name} has no model or no score that could be published; evaluate it again")
    if any(not gate.passed for gate in decision.gates):
        raise BrokenContract(f"{name} did not pass all gates, and yet counts as improved; evaluate it again")
    return decision.candidate


def _read_metadata(model: Path, candidate: Candidate) -> dict[str, Any]:
    file = model / METADATA_FILE
    try:
        metadata = json.loads(file.read_bytes())
    except (OSError, ValueError) as cause:
        raise BrokenContract(f"cannot read {file}: {cause}; train again") from cause
    if not isinstance(metadata, dict) or not metadata.keys() <= _ESTIMATOR_KEYS:
        raise BrokenContract(f"{file} holds more than {sorted(_ESTIMATOR_KEYS)}: an estimator drops such a model")
    expected = {
        "model_class": candidate.model_class,
        "model_name": candidate.model_name,
        "model_file": MODEL_CLASSES.get(candidate.model_class),
        "features": list(candidate.features),
    }
    for key, value in expected.items():
        if metadata.get(key) != value:
            raise BrokenContract(f"{file} says {key} = {metadata.get(key)!r}, the candidate {value!r}; train again")
    return metadata


def _model_files(model: Path, metadata: dict[str, Any]) -> list[Path]:
    named = [metadata["model_file"], SCALER_FILE, *metadata.get("fe_files", [])]
    missing = [name for name in named if not (model / str(name)).is_file()]
    if missing:
        raise BrokenContract(
            f"{model} lacks {', '.join(map(str, missing))}, which its {METADATA_FILE} names; train again"
        )
    files = [file for file in sorted(model.iterdir()) if file.name != METADATA_FILE]
    odd = [file.name for file in files if file.is_symlink() or not file.is_file() or file.name == PROVENANCE_FILE]
    if odd:
        raise BrokenContract(f"{model} holds {', '.join(odd)}, which is no file of a model; train again")
    return files


def _scores(score: Score) -> dict[str, float]:
    """The errors that an estimator chooses its model by: the smallest `mae` (or what its `--err` names) is served.

    Both are the error of Σ pods + idle against the node, in mJ per interval, on held-out rows: comparable over all
    groups and pipelines. The `_val` keys hold the same, since nothing less honest was measured.
    """
    scores = {"mae": score.mae_millijoules, "mse": score.mse_millijoules2}
    if not all(math.isfinite(value) for value in scores.values()):
        raise BrokenContract(f"the candidate's errors are not finite: {scores}; evaluate it again")
    return {**scores, **{f"{key}_val": value for key, value in scores.items()}}
