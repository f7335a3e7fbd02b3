"""Model folders for estimators: whole ones from stock scikit-learn classes, and classes that misbehave in one way."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import MaxAbsScaler

COUNTERS = ("curr_cache_miss", "curr_cpu_cycles", "curr_cpu_instr")


class Predicts:
    """A model whose answer is what a function of its rows says."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, rows):
        return self.answer(rows)


class Adds:
    """A transformer that adds a number."""

    def __init__(self, number):
        self.number = number

    def transform(self, rows):
        return rows + self.number


class RunsCodeWhenUnpickled:
    """What a tampered model would be."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Keeps:
    """A transformer that changes nothing, whatever the rows are made of."""

    def transform(self, rows):
        return rows


def column_means(rows):
    """Not row-wise: what a pod gets depends on who else asks."""
    return np.full(len(rows), rows.mean())


def linear(coefficients, intercept=0.0):
    """A fitted LinearRegression with these coefficients."""
    coefficients = np.asarray(coefficients, dtype=float)
    model = LinearRegression().fit(np.eye(len(coefficients)), coefficients)
    model.coef_, model.intercept_ = coefficients, intercept
    return model


def unscaled(features=3):
    """A fitted scaler that changes nothing."""
    return MaxAbsScaler().fit(np.ones((1, features)))


def write_model(folder: Path, model, *, scaler=None, transformers=(), features=COUNTERS, **metadata) -> Path:
    """Write a scikit model's folder, named after its model; keywords add to or replace what its metadata says."""
    folder.mkdir(parents=True)
    pickles = {"model.sav": model, "scaler.pkl": scaler if scaler is not None else unscaled(len(features))}
    pickles |= {f"fe_{number}.pkl": transformer for number, transformer in enumerate(transformers)}
    for file, content in pickles.items():
        (folder / file).write_bytes(pickle.dumps(content))
    description = {
        "model_name": folder.name,
        "model_class": "scikit",
        "model_file": "model.sav",
        "features": list(features),
        "fe_files": [f"fe_{number}.pkl" for number in range(len(transformers))],
    }
    (folder / "metadata.json").write_text(json.dumps(description | metadata))
    return folder


def change_metadata(folder: Path, **changes) -> None:
    """Replace keys of a model's metadata."""
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
