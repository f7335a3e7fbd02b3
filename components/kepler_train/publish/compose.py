"""From a candidate and its decision to the files of a version: what the estimator reads, and where it comes from."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from kepler_train.contract.errors import BrokenContract, NotLoadable, WrongUsage
from kepler_train.contract.models import (
    METADATA_FILE,
    PROVENANCE_FILE,
    SCALER_FILE,
    Candidate,
    Decision,
    Provenance,
    Score,
)
from kepler_train.estimators.d351cbf import Metadata, read_metadata
from kepler_train.estimators.model_folder import with_errors


def compose(model: Path, candidate: Candidate, decision: Decision, into: Path) -> Provenance:
    """Put a version's files but its provenance into the new folder `into`, and return that provenance.

    The version's name begins with the run's id, so that versions sort by their runs, and ends in a checksum of the
    files and of the champion they were judged against: the same candidate published again is the same version.

    Raises WrongUsage where the decision is not to publish, BrokenContract where decision, candidate and files do not
    belong together or are no model of an estimator.
    """
    score = _approved_score(candidate, decision)
    files = _model_files(model, _require_estimator_metadata(model, candidate))
    metadata = with_errors((model / METADATA_FILE).read_bytes(), score)
    into.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, into / file.name)
    (into / METADATA_FILE).write_bytes(metadata)
    checksums = {file.name: sha256(file.read_bytes()).hexdigest() for file in sorted(into.iterdir())}
    content = json.dumps([checksums, decision.champion_version], sort_keys=True).encode()
    return Provenance(
        group=candidate.group,
        model_name=candidate.model_name,
        version=f"{candidate.run_id}-{sha256(content).hexdigest()[:8]}",
        parent=decision.champion_version,
        published=datetime.now(timezone.utc),
        candidate=candidate,
        decision=decision,
        files=checksums,
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


def _require_estimator_metadata(model: Path, candidate: Candidate) -> Metadata:
    try:
        metadata = read_metadata(model, served_as=candidate.model_name)
    except NotLoadable as cause:
        raise BrokenContract(f"{cause}; train again") from cause
    if (metadata.model_class, metadata.features) != (candidate.model_class, candidate.features):
        raise BrokenContract(f"{model / METADATA_FILE} and the candidate tell of different models; train again")
    return metadata


def _model_files(model: Path, metadata: Metadata) -> list[Path]:
    named = (metadata.model_file, SCALER_FILE, *metadata.fe_files)
    missing = [name for name in named if not (model / name).is_file()]
    if missing:
        raise BrokenContract(f"{model} lacks {', '.join(missing)}, which its {METADATA_FILE} names; train again")
    files = [file for file in sorted(model.iterdir()) if file.name != METADATA_FILE]
    odd = [file.name for file in files if file.is_symlink() or not file.is_file() or file.name == PROVENANCE_FILE]
    if odd:
        raise BrokenContract(f"{model} holds {', '.join(odd)}, which is no file of a model; train again")
    return files
