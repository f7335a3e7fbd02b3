"""The folder of one model as an estimator reads it, made from a stored version: for the store's copy and for sync."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from kepler_train.contract.errors import BrokenContract, DamagedModel, NotLoadable
from kepler_train.contract.models import ARCHIVE_FILES, METADATA_FILE, PROVENANCE_FILE, SAFE_FILE, Provenance, Score
from kepler_train.estimators.d351cbf import read_metadata

D351CBF = "d351cbf"
"""The generation of kepler-estimator at that commit: flat folder, scaler.pkl, no output types."""

SUMS_FILE = "SHA256SUMS"

_OTHERS = {*ARCHIVE_FILES.values(), SAFE_FILE}
"""Of no use to this generation."""


def estimator_files(version: Path, name: str) -> dict[str, bytes]:
    """Make the files of an estimator's model folder called `name` from a version's folder; metadata.json is the last.

    Raises DamagedModel where an estimator would drop the version for its metadata.
    """
    model_name = Provenance.read(version / PROVENANCE_FILE).model_name
    try:
        read_metadata(version, served_as=model_name)
    except NotLoadable as cause:
        raise DamagedModel(
            f"what is served as {name} is no model for an estimator: {cause}; publish another"
        ) from cause
    files = {file.name: file.read_bytes() for file in sorted(version.iterdir()) if file.name not in _OTHERS}
    renamed = with_name(files.pop(METADATA_FILE), name)
    sums = {file: sha256(content).hexdigest() for file, content in {**files, METADATA_FILE: renamed}.items()}
    listed = "".join(f"{checksum}  {file}\n" for file, checksum in sums.items())
    return {**files, SUMS_FILE: listed.encode(), METADATA_FILE: renamed}


def estimator_checksums(version: Mapping[str, str], metadata: bytes, name: str) -> dict[str, str]:
    """Tell what SHA256SUMS lists in that folder, from the checksums of a version's files and its metadata alone."""
    kept = {file: checksum for file, checksum in version.items() if file not in _OTHERS}
    return {**kept, METADATA_FILE: sha256(with_name(metadata, name)).hexdigest()}


def with_name(metadata: bytes, name: str) -> bytes:
    """Give a model's metadata the name of its folder."""
    return json.dumps({**json.loads(metadata), "model_name": name}, indent=1).encode()


def with_errors(metadata: bytes, score: Score) -> bytes:
    """Give a model's metadata the errors that an estimator chooses by: the smallest `mae`, or what its `--err` names.

    Both are the error of Σ pods + idle against the node, in mJ per interval, on held-out rows: comparable over all
    groups and pipelines. The `_val` keys hold the same, since nothing less honest was measured. Raises BrokenContract
    for what is no number.
    """
    errors = {"mae": score.mae_millijoules, "mse": score.mse_millijoules2}
    if not all(math.isfinite(value) for value in errors.values()):
        raise BrokenContract(f"the candidate's errors are not finite: {errors}; evaluate it again")
    errors |= {f"{key}_val": value for key, value in errors.items()}
    return json.dumps({**json.loads(metadata), **errors}, indent=1).encode()
