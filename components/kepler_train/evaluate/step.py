"""The step `evaluate`: candidate and champion, asked as an estimator asks, on the same held-out rows and now."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from kepler_train.contract.curves import CURVE_FILE
from kepler_train.contract.errors import BrokenContract, NotLoadable
from kepler_train.contract.models import (
    CANDIDATE_FILE,
    DECISION_FILE,
    MODEL_FOLDER,
    NODE_MODEL_FOLDER,
    TRACE_FILE,
    BlockScore,
    Candidate,
    Decision,
    Gate,
    read_candidate,
)
from kepler_train.contract.parts import Part, read_part
from kepler_train.contract.runtimes import require_runtime
from kepler_train.estimators.d351cbf import load
from kepler_train.evaluate.balance import Balance
from kepler_train.evaluate.canary import compare_with_before, said_of
from kepler_train.evaluate.champion import Champion, fetch_champion
from kepler_train.evaluate.comparison import compare
from kepler_train.evaluate.curve import pod_curve
from kepler_train.evaluate.gates import beats_constant, try_candidate
from kepler_train.evaluate.predictions import predict, read_predictions
from kepler_train.evaluate.scores import BEST_CONSTANT, CANDIDATE, CHAMPION, CONSTANT, BlockSums, Tally
from kepler_train.evaluate.served import prove
from kepler_train.evaluate.trace import Trace
from kepler_train.evaluate.verdict import reason
from kepler_train.evaluate.whole_node import judge as judge_whole_node

logger = logging.getLogger("kepler_train")


def run(candidate: Path, held_out_part: Path, store: str, out: Path, canary: bool = False) -> Decision:
    """Decide whether a candidate is better than what the store serves under its name, and write why.

    Both are scored now: a stored score is of other rows. Where no champion can be used, the reference is a constant per
    node, which every candidate must beat. `out` gets `decision.json`, `trace.parquet`, `curve.json` and
    a copy of `candidate.json`.

    With `canary`, a champion that is new since the last run is first compared with the version before it; where it is
    worse, that version is what the candidate is compared with.

    Raises StoreError where the store cannot be read, BrokenContract where candidate and part do not belong together,
    WrongUsage where this interpreter, or what the store serves, is of another runtime than the candidate. A candidate
    that failed, or that no estimator could use, is a decision.
    """
    described, part = read_candidate(candidate), read_part(held_out_part)
    require_runtime(described.runtime_name)
    if described.group is not part.group:
        raise BrokenContract(
            f"{candidate} is of {described.group.value}, {held_out_part} of {part.group.value}; "
            "judge it with the held-out part of its own group"
        )
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(candidate / CANDIDATE_FILE, out / CANDIDATE_FILE)
    with tempfile.TemporaryDirectory() as scratch:
        champion = fetch_champion(store, described, Path(scratch) / CHAMPION)
        found = None
        if canary and champion.before:
            found, champion = compare_with_before(champion, store, described, held_out_part, Path(scratch))
        files = {CANDIDATE: Path(scratch) / "candidate.parquet"}
        model, gates = try_candidate(described, candidate / MODEL_FOLDER, held_out_part, files[CANDIDATE])
        if model is not None:
            pod_curve(model, described, held_out_part, part).write(out / CURVE_FILE)
            champion = _predict_champion(champion, described, held_out_part, files, Path(scratch))
            decision = _decide(_score(files, part, out / TRACE_FILE), described, part, champion, gates)
            decision = prove(decision, candidate, described, held_out_part, part)
            if (candidate / NODE_MODEL_FOLDER).is_dir():
                whole_node = judge_whole_node(
                    candidate / NODE_MODEL_FOLDER,
                    described.model_name,
                    held_out_part,
                    part,
                    Path(scratch) / "whole_node.parquet",
                )
                decision = msgspec.structs.replace(decision, whole_node=whole_node)
        else:
            Trace(0).write(out / TRACE_FILE)
            decision = _failed(described, part, champion, gates)
    if found is not None:
        decision = msgspec.structs.replace(decision, canary=found, reason=decision.reason + said_of(found))
    decision.write(out / DECISION_FILE)
    logger.info("evaluate %s/%s: %s", decision.group.value, decision.model_name, decision.reason)
    return decision


def _predict_champion(
    champion: Champion, described: Candidate, held_out_part: Path, files: dict[str, Path], scratch: Path
) -> Champion:
    """Score the champion on the candidate's rows; one that does not load is named as damaged."""
    if champion.folder is None:
        return champion
    out = scratch / "champion.parquet"
    try:
        predict(load(champion.folder, described.model_name), champion.idle_millijoules, held_out_part, out)
    except NotLoadable as cause:
        return replace(champion, folder=None, damage=str(cause))
    files[CHAMPION] = out
    return champion


def _score(files: dict[str, Path], part: Part, trace_file: Path) -> Tally:
    """Read the predictions of all models side by side, add up their errors and the baselines', and leave the trace."""
    balance = Balance(lambda: read_predictions(files[CANDIDATE]))
    tally = Tally((*files, CONSTANT, BEST_CONSTANT))
    trace = Trace(part.node_intervals)
    for batches in zip(*(read_predictions(file) for file in files.values()), strict=True):
        first = batches[0]
        measured = first.measured_millijoules
        constants = (part.nodes[first.node].mean_millijoules, balance.best_constant(first.node))
        baselines = (np.full(len(measured), constant) for constant in constants)
        predicted = np.stack([*(batch.predicted_millijoules for batch in batches), *baselines])
        tally.add(measured, predicted, balance.standing(first.node, measured), first.block_start_seconds)
        trace.add(first, predicted[1] if CHAMPION in files else None)
    trace.write(trace_file)
    return tally


def _decide(tally: Tally, described: Candidate, part: Part, champion: Champion, gates: tuple[Gate, ...]) -> Decision:
    scores = {model: tally.score(model) for model in tally.models}
    comparisons = {model: compare(tally, model) for model in tally.models if model != CANDIDATE}
    deciding = comparisons.get(CHAMPION, comparisons[CONSTANT])
    gates = (*gates, beats_constant(comparisons[CONSTANT], comparisons[BEST_CONSTANT]))
    said = reason(comparisons, gates, len(tally.blocks))
    if champion.damage:
        said += f"; the champion {champion.version} could not be used"
    reference = tally.models.index(deciding.reference)
    return Decision(
        run_id=described.run_id,
        group=described.group,
        model_name=described.model_name,
        model_class=described.model_class,
        improved=deciding.improved and all(gate.passed for gate in gates),
        reason=said,
        candidate=scores[CANDIDATE],
        champion=scores.get(CHAMPION),
        champion_version=champion.version,
        champion_damage=champion.damage,
        baselines={CONSTANT: scores[CONSTANT]},
        improvement_percent=deciding.improvement_percent,
        noise_percent=deciding.noise_percent,
        gates=gates,
        blocks=tuple(_block_score(start, block, reference) for start, block in sorted(tally.blocks.items())),
        held_out=_held_out(part),
    )


def _block_score(start: int, block: BlockSums, reference: int) -> BlockScore:
    weight = float(block.weights.sum())
    percent = 100 * block.relative_errors.sum(axis=1) / weight
    return BlockScore(
        block_start_seconds=start,
        node_intervals=block.node_intervals,
        weight=weight,
        candidate_mape_percent=float(percent[0]),
        reference_mape_percent=float(percent[reference]),
    )


def _failed(described: Candidate, part: Part, champion: Champion, gates: tuple[Gate, ...]) -> Decision:
    """The decision on a candidate that cannot be scored: its training pipeline broke what it promised."""
    return Decision(
        run_id=described.run_id,
        group=described.group,
        model_name=described.model_name,
        model_class=described.model_class,
        improved=False,
        failed=True,
        reason=gates[-1].detail,
        champion_version=champion.version,
        champion_damage=champion.damage,
        gates=gates,
        held_out=_held_out(part),
    )


def _held_out(part: Part) -> dict[str, int]:
    return {"pod_rows": part.pod_rows, "node_intervals": part.node_intervals, "blocks": part.blocks}
