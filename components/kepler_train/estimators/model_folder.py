"""The folder of one model as an estimator reads it, made from a stored version: for the store's copy and for sync."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from kepler_train.contract.errors import DamagedModel, NotLoadable
from kepler_train.contract.models import METADATA_FILE, PROVENANCE_FILE, Provenance
from kepler_train.estimators.d351cbf import read_metadata

D351CBF = "d351cbf"
"""The generation of kepler-estimator at that commit: flat folder, scaler.pkl, no output types."""

SUMS_FILE = "SHA256SUMS"


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
    files = {file.name: file.read_bytes() for file in sorted(version.iterdir())}
    metadata = {**json.loads(files.pop(METADATA_FILE)), "model_name": name}
    renamed = json.dumps(metadata, indent=1).encode()
    sums = {file: sha256(content).hexdigest() for file, content in {**files, METADATA_FILE: renamed}.items()}
    listed = "".join(f"{checksum}  {file}\n" for file, checksum in sums.items())
    return {**files, SUMS_FILE: listed.encode(), METADATA_FILE: renamed}
