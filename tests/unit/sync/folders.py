"""An estimator's folder as the estimator sees it."""

from __future__ import annotations

from pathlib import Path

from kepler_train.sync.models_folder import CURRENT


def contents(into: Path) -> dict[str, dict[str, bytes]]:
    """What the estimator reads: model to file to content."""
    models = into / CURRENT
    return {model.name: {file.name: file.read_bytes() for file in model.iterdir()} for model in models.iterdir()}


def sets(into: Path) -> list[str]:
    """What lies beside each other: sets, and whatever else."""
    return sorted(path.name for path in (into / ".sets").iterdir())
