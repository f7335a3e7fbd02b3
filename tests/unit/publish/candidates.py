"""Candidates and decisions as the steps before publishing leave them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import msgspec

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import (
    CANDIDATE_FILE,
    DECISION_FILE,
    METADATA_FILE,
    MODEL_FOLDER,
    SCALER_FILE,
    checksums_of,
)
from kepler_train.publish import step
from tests.unit.store import versions

GROUP = FeatureGroup.COUNTER_ONLY
NAME = versions.NAME


def write(
    folder: Path,
    run: str = "1",
    name: str = NAME,
    champion: str = "",
    *,
    improved: bool = True,
    model: bytes | None = None,
    scaler: bytes = b"a scaler",
) -> tuple[Path, Path]:
    """Write a candidate of night `run` and the decision about it; returns their folders."""
    judged = versions.candidate(name, run_id=f"2026112{run}T020000Z-{run * 4}")
    candidate, decision = folder / f"{name}-{run}", folder / f"{name}-{run}-decision"
    (candidate / MODEL_FOLDER).mkdir(parents=True)
    judged.write(candidate / CANDIDATE_FILE)
    metadata = {
        "model_class": "scikit",
        "model_name": name,
        "model_file": "model.sav",
        "features": list(judged.features),
        "fe_files": ["hinges.pkl"],
    }
    (candidate / MODEL_FOLDER / METADATA_FILE).write_text(json.dumps(metadata))
    (candidate / MODEL_FOLDER / SCALER_FILE).write_bytes(scaler)
    (candidate / MODEL_FOLDER / "hinges.pkl").write_bytes(f"hinges of {name} {run}".encode())
    (candidate / MODEL_FOLDER / "model.sav").write_bytes(model or f"model of {name} {run}".encode())
    decided = versions.decision(judged, champion, improved)
    msgspec.structs.replace(decided, judged_files=checksums_of(candidate)).write(decision / DECISION_FILE)
    return candidate, decision


def publish(folder: Path, address: str, run: str = "1", name: str = NAME, champion: str = "", **options):
    """Write and publish; returns the provenance."""
    return step.run(*write(folder, run, name, champion, **options), address)


def write_real(folder: Path) -> tuple[Path, Path]:
    """A candidate that a real estimator can load: 2 mJ a thousand instructions."""
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler

    rows = [[0.0, 0.0, 0.0], [10.0, 1000.0, 1000.0], [20.0, 5000.0, 2000.0], [7.0, 1000.0, 9000.0]]
    scaler = MaxAbsScaler().fit(rows)
    model = LinearRegression().fit(scaler.transform(rows), [2e-3 * row[2] for row in rows])
    candidate, decision = write(folder, model=pickle.dumps(model), scaler=pickle.dumps(scaler))
    (candidate / MODEL_FOLDER / "hinges.pkl").write_bytes(pickle.dumps(FunctionTransformer()))
    rewrite_decision(decision, judged_files=checksums_of(candidate))
    return candidate, decision


def rewrite_decision(decision: Path, **changes) -> None:
    """Change fields of a decision."""
    from kepler_train.contract.models import read_decision

    msgspec.structs.replace(read_decision(decision), **changes).write(decision / DECISION_FILE)
