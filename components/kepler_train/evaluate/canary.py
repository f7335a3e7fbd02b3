"""The canary: was it right to serve the champion? It and the version it replaced, on rows neither was judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.models import Canary, Candidate
from kepler_train.estimators.d351cbf import load
from kepler_train.evaluate.balance import Balance
from kepler_train.evaluate.champion import Champion, fetch_before
from kepler_train.evaluate.comparison import compare
from kepler_train.evaluate.predictions import predict, read_predictions
from kepler_train.evaluate.scores import Tally

_NEW, _BEFORE = "new", "before"


def compare_with_before(
    champion: Champion, store: str, described: Candidate, held_out_part: Path, scratch: Path
) -> tuple[Canary, Champion]:
    """Compare a champion with the version it replaced, as candidates are compared; returns who is to be served, too.

    Where one of them cannot be used nothing is told, and the champion stays.
    """
    before = fetch_before(store, described, champion.before, scratch / _BEFORE)
    files = {_NEW: scratch / "new.parquet", _BEFORE: scratch / "before.parquet"}
    for model, file in zip((champion, before), files.values(), strict=True):
        problem = model.damage
        if model.folder is not None:
            try:
                predict(load(model.folder, described.model_name), model.idle_millijoules, held_out_part, file)
            except NotLoadable as cause:
                problem = str(cause)
        if problem:
            unusable = f"{model.version} could not be used: {problem}"
            return Canary(version=champion.version, before=before.version, problem=unusable), champion
    tally = _tally(files)
    comparison = compare(tally, _BEFORE)
    found = Canary(
        version=champion.version,
        before=before.version,
        score=tally.score(_NEW),
        before_score=tally.score(_BEFORE),
        noise_percent=comparison.noise_percent,
        worse=comparison.worse,
    )
    return found, before if found.worse else champion


def said_of(canary: Canary) -> str:
    """Say what a canary found, as the end of a decision's sentence; nothing where the champion may stay."""
    if canary.problem:
        return f"; the champion could not be compared with the version before it: {canary.problem}"
    if not canary.worse or canary.score is None or canary.before_score is None:
        return ""
    errors = f"{canary.score.mape_percent:.1f} % against {canary.before_score.mape_percent:.1f} %"
    return f"; {canary.version} is worse than {canary.before}, which it replaced ({errors}), and is taken back"


def _tally(files: dict[str, Path]) -> Tally:
    balance = Balance(lambda: read_predictions(files[_NEW]))
    tally = Tally(tuple(files))
    for new, before in zip(*map(read_predictions, files.values()), strict=True):
        measured = new.measured_millijoules
        predicted = np.stack([new.predicted_millijoules, before.predicted_millijoules])
        tally.add(measured, predicted, balance.standing(new.node, measured), new.block_start_seconds)
    return tally
