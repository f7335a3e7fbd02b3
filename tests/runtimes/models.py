"""Run in a runtime's interpreter: `train FOLDER`, then `answer FOLDER`, a process each, so that files alone are read.

Trains every shipped pipeline on a small synthetic cluster, and asks what it left as estimators of both generations do.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.models import METADATA_FILE, MODEL_FOLDER, NODE_MODEL_FOLDER, flat_name, read_candidate
from kepler_train.contract.parts import interval_batches
from kepler_train.estimators import archive, folder_estimator
from kepler_train.estimators.folder_estimator import FolderEstimator
from kepler_train.estimators.model_folder import with_name
from kepler_train.estimators.unix_socket import ask, listening
from kepler_train.train import step, synthetic
from kepler_train.train.registry import pipelines_of

PODS = 5


def train(folder: Path, runtime: str) -> None:
    """Leave candidates, the folders that estimators d351cbf read, and requests by group."""
    requests = {}
    for group in FeatureGroup:
        architectures = tuple(synthetic.ARCHITECTURE_FACTORS) if ARCHITECTURE in group.features else ("Broadwell",)
        part = folder / "parts" / group.value
        synthetic.write_part(synthetic.cluster(intervals=300, architectures=architectures), group, part)
        requests[group.value] = next(interval_batches(part)).request()[:PODS].tolist()
        for entry in pipelines_of(group):
            name = flat_name(group, entry.model_name)
            candidate = folder / "candidates" / name
            trained = step.run(part, str(entry), candidate, runtime)
            assert trained.status == "trained", trained.reason
            served = shutil.copytree(candidate / MODEL_FOLDER, folder / "served" / name / name)
            (served / METADATA_FILE).write_bytes(with_name((served / METADATA_FILE).read_bytes(), name))
    (folder / "requests.json").write_text(json.dumps(requests))


def answer(folder: Path) -> None:
    """Leave what each model answers, by dialect."""
    requests, answers = json.loads((folder / "requests.json").read_text()), {}
    for candidate in sorted((folder / "candidates").iterdir()):
        described = read_candidate(candidate)
        order = [described.group.features.index(feature) for feature in described.features]
        category = ARCHITECTURE in described.features
        rows = np.array(requests[described.group.value], dtype=object if category else float)[:, order]
        served = FolderEstimator(folder / "served" / candidate.name)
        with listening(served) as socket:
            found: dict[str, Any] = {"d351cbf": ask(socket, folder_estimator.request_for(described.features, rows))}
        for output_type, model, asked in (
            (archive.DYN_POWER, MODEL_FOLDER, rows),
            (archive.ABS_POWER, NODE_MODEL_FOLDER, rows[:1]),
        ):
            files = {file.name: file.read_bytes() for file in (candidate / model).iterdir()}
            names = [archive.archive_name(feature) for feature in described.features]
            archives = {output_type: archive.archived(files, output_type)}
            request = archive.request_for(output_type, names, asked)
            with archive.estimator_of(archives) as estimator, listening(estimator) as socket:
                found[output_type] = ask(socket, request)
            kept = folder / "archives" / candidate.name
            kept.mkdir(parents=True, exist_ok=True)
            (kept / f"{output_type}.zip").write_bytes(archives[output_type])
            (kept / f"{output_type}.json").write_bytes(request)
        answers[candidate.name] = {"model_class": described.model_class, "runtime": described.runtime, **found}
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    action, folder, *runtime = sys.argv[1:]
    train(Path(folder), *runtime) if action == "train" else answer(Path(folder))
