"""From a candidate and its decision to the files of a version: what the estimator reads, and where it comes from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from kepler_train.contract.errors import BrokenContract, NotLoadable, WrongUsage
from kepler_train.contract.models import (
    ABS_POWER,
    ARCHIVE_FILES,
    DYN_POWER,
    METADATA_FILE,
    MODEL_FOLDER,
    NODE_MODEL_FOLDER,
    PROVENANCE_FILE,
    SAFE_FILE,
    SCALER_FILE,
    Candidate,
    Decision,
    Provenance,
    Score,
    flat_name,
)
from kepler_train.estimators.archive import archived, require_archive
from kepler_train.estimators.d351cbf import Metadata, read_metadata
from kepler_train.estimators.model_folder import with_errors


def compose(folder: Path, candidate: Candidate, decision: Decision, into: Path) -> Provenance:
    """Put a version's files but its provenance into the new folder `into`, and return that provenance.

    `folder` is the candidate's. Beside the files of its model, which estimators of d351cbf read, a version has the
    archives that later ones read: of the model of pods, and, where evaluation found it of use, of the whole node; and
    the model's safe form, if training wrote one.

    The version's name begins with the run's id, so that versions sort by their runs, and ends in a checksum of the
    files and of the champion they were judged against: the same candidate published again is the same version.

    Raises WrongUsage where the decision is not to publish, BrokenContract where decision, candidate and files do not
    belong together or are no model of an estimator.
    """
    score = _approved_score(candidate, decision)
    model = folder / MODEL_FOLDER
    files = _model_files(model, _require_estimator_metadata(model, candidate))
    metadata = with_errors((model / METADATA_FILE).read_bytes(), score)
    into.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, into / file.name)
    (into / METADATA_FILE).write_bytes(metadata)
    for name, archive in _archives(folder, candidate, decision, into).items():
        (into / name).write_bytes(archive)
    if (folder / SAFE_FILE).is_file():
        shutil.copyfile(folder / SAFE_FILE, into / SAFE_FILE)
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
    reserved = {PROVENANCE_FILE, SAFE_FILE, *ARCHIVE_FILES.values()}
    odd = [file.name for file in files if file.is_symlink() or not file.is_file() or file.name in reserved]
    if odd:
        raise BrokenContract(f"{model} holds {', '.join(odd)}, which is no file of a model; train again")
    return files


def _archives(folder: Path, candidate: Candidate, decision: Decision, composed: Path) -> dict[str, bytes]:
    """Make the archives of a version: file name to content."""
    name = flat_name(candidate.group, candidate.model_name)
    archives = {DYN_POWER: archived(_contents(sorted(composed.iterdir())), DYN_POWER, model_name=name)}
    judged = decision.whole_node
    if judged is not None and judged.usable and judged.score is not None:
        model = folder / NODE_MODEL_FOLDER
        files = _model_files(model, _require_estimator_metadata(model, candidate))
        contents = _contents([*files, model / METADATA_FILE])
        contents[METADATA_FILE] = with_errors(contents[METADATA_FILE], judged.score)
        archives[ABS_POWER] = archived(contents, ABS_POWER, model_name=name)
    for output_type, content in archives.items():
        try:
            require_archive(content, output_type, f"{output_type} of {name}")
        except NotLoadable as cause:
            raise BrokenContract(f"{cause}; train again") from cause
    return {ARCHIVE_FILES[output_type]: content for output_type, content in archives.items()}


def _contents(files: Iterable[Path]) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in files}
