"""Runs as the report reads them: decisions with traces, parts and a window, made from the power of a small cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kepler_train.contract.curves import CURVE_FILE, PodCurve
from kepler_train.contract.evidence import IdleEvidence, IdleSource, SplitEvidence
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.held_out import HELD_OUT, block_starts, split
from kepler_train.contract.models import (
    BEATS_CONSTANT,
    CANDIDATE_FILE,
    DECISION_FILE,
    TRACE_FILE,
    BlockScore,
    Candidate,
    Decision,
    Gate,
    Score,
)
from kepler_train.contract.parts import PART_FILE, NodeSummary, Part
from kepler_train.contract.tables import TRACE_SCHEMA
from kepler_train.contract.window import SUMMARY_FILE, PrometheusSource, Span, Window, WindowSummary

RUN_ID = "20261122T020000Z-7f3a9c"
START = datetime(2026, 11, 22, 2, tzinfo=timezone.utc)
NODES = ("worker-a", "worker-b", "worker-c")
IDLE_WATTS = {"worker-a": 52.0, "worker-b": 54.5, "worker-c": 88.0}


DETERMINED = SplitEvidence("curr_cpu_cycles", 0.96, 14.2, {"worker-a": 17.5, "worker-b": 21.0, "worker-c": 12.0})
GUESS = SplitEvidence(
    "curr_cpu_time",
    0.97,
    23.4,
    {"worker-a": 31.0, "worker-b": 27.0},
    together=(("shop/web", "data/postgres"),),
    still=("media/video",),
)


@dataclass(frozen=True)
class Model:
    """One pipeline of a run that is to be: its errors decide what becomes of it."""

    group: FeatureGroup
    name: str
    model_class: str = "scikit"
    error: float | None = 0.03
    """Relative noise of the candidate's prediction; None: its training failed."""
    champion_error: float | None = 0.03
    """The same of the champion; None: there is none."""
    gate: str = ""
    """A gate that does not pass."""
    reason: str = "ValueError: Input X contains NaN in curr_cache_miss (in train, line 41)"
    notes: tuple[str, ...] = ()
    split: SplitEvidence | None = DETERMINED
    idle: IdleSource = IdleSource.QUIET


@dataclass(frozen=True)
class Run:
    """Where a built run lies: the arguments of the report step, and what stands in the decisions."""

    decisions: list[Path] = field(default_factory=list)
    parts: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Night:
    """What the nodes used in the held-out intervals; all arrays (k,), ordered by node and time."""

    window: Window
    times: np.ndarray
    nodes: np.ndarray
    measured: np.ndarray

    @property
    def blocks(self) -> np.ndarray:
        return block_starts(self.times)


def window_of(hours: float, run_id: str = RUN_ID) -> Window:
    span = Span(start=START, end=START + timedelta(hours=hours))
    source = PrometheusSource(url="http://prometheus.monitoring:9090", selector='job="kepler-exporter"')
    return Window(run_id=run_id, source=source, spans=(span,))


def night(hours: float = 2, nodes: tuple[str, ...] = NODES, seed: int = 7) -> Night:
    """Power that follows a slow load curve with bursts, on every node its own."""
    random = np.random.default_rng(seed)
    window = window_of(hours)
    every = int(START.timestamp()) * 1000 + 3000 * np.arange(1, int(hours * 1200) + 1)
    times = every[split(every, window.interval_seconds) == HELD_OUT]
    measured = []
    for index, node in enumerate(nodes):
        load = 0.45 + 0.35 * np.sin(np.arange(len(every)) / len(every) * 9 + index)
        bursts = np.repeat(random.random(len(every) // 80 + 1) < 0.3, 80)[: len(every)] * 0.35
        idle = IDLE_WATTS.get(node, 60.0)
        power = idle + 160 * np.clip(load + bursts + random.normal(0, 0.02, len(every)), 0, 1.2)
        measured.append(3000 * power[split(every, window.interval_seconds) == HELD_OUT])
    return Night(window, np.tile(times, len(nodes)), np.repeat(nodes, len(times)), np.concatenate(measured))


def build(
    folder: Path,
    models: list[Model],
    night: Night,
    *,
    set_apart: dict[str, dict[str, int]] | None = None,
    part_set_apart: dict[str, int] | None = None,
    without_signal: dict[FeatureGroup, tuple[str, ...]] | None = None,
    missing_metrics: tuple[str, ...] = (),
) -> Run:
    """Write everything that the report reads of a run."""
    nodes = tuple(dict.fromkeys(night.nodes.tolist()))
    rows = {"pod_stat_data": 5 * 31 * len(night.times), "node_stat_data": 5 * len(night.times)}
    rows |= {"freq_data": 0 if missing_metrics else 40 * len(night.times), "pkg_data": 10 * len(night.times)}
    summary = WindowSummary(
        window=night.window,
        spans=night.window.spans,
        rows=rows,
        set_apart=set_apart or {},
        missing_metrics=missing_metrics,
        nodes=nodes,
    )
    run = Run()
    for group in dict.fromkeys(model.group for model in models):
        part = folder / f"part-{group.value}"
        _part(group, night, part_set_apart or {}, (without_signal or {}).get(group, ())).write(part / PART_FILE)
        summary.write(part / SUMMARY_FILE)
        run.parts.append(part)
    for index, model in enumerate(models):
        run.decisions.append(folder / f"decision-{index}")
        write_decision(run.decisions[-1], model, night, seed=index)
    return run


def _part(group: FeatureGroup, night: Night, set_apart: dict[str, int], without_signal: tuple[str, ...]) -> Part:
    summaries = {
        node: NodeSummary(
            cpu_architecture="Cascade Lake",
            node_intervals=int(np.sum(night.nodes == node)),
            pod_rows=31 * int(np.sum(night.nodes == node)),
            mean_millijoules=float(night.measured[night.nodes == node].mean()),
        )
        for node in dict.fromkeys(night.nodes.tolist())
    }
    return Part(
        window=night.window,
        group=group,
        part="held_out",
        nodes=summaries,
        pod_rows=31 * len(night.times),
        node_intervals=len(night.times),
        blocks=len(np.unique(night.blocks)),
        set_apart=set_apart,
        without_signal=without_signal,
    )


def write_decision(folder: Path, model: Model, night: Night, seed: int = 0) -> Decision:
    """Write the decision, the trace and the candidate's description of one pipeline."""
    candidate = _candidate(model, night)
    candidate.write(folder / CANDIDATE_FILE)
    decision = _failed(model) if model.error is None else _judged(folder, model, night, seed)
    decision.write(folder / DECISION_FILE)
    if model.error is not None:
        curve_of(model.group).write(folder / CURVE_FILE)
    return decision


def curve_of(group: FeatureGroup) -> PodCurve:
    """A curve that bends, as what pods share makes it, over the group's first feature."""
    values = np.linspace(0, 8.4e9, 41)
    return PodCurve(
        feature=group.features[0],
        mean=3.1e8,
        cpu_architecture="Cascade Lake" if group is FeatureGroup.FULL else "",
        values=tuple(values.tolist()),
        millijoules=tuple((3000 * 31 * (1 - np.exp(-values / 5e9))).tolist()),
    )


def _candidate(model: Model, night: Night) -> Candidate:
    runtime = {"python": "3.11.9", "numpy": "2.4.1", "scikit-learn": "1.9.0"}
    runtime |= {"tensorflow": "2.21.0", "keras": "3.12.0"} if model.model_class == "keras" else {}
    failed = model.error is None
    return Candidate(
        run_id=night.window.run_id,
        window=night.window,
        group=model.group,
        model_name=model.name,
        model_class=model.model_class,
        features=model.group.features,
        status="failed" if failed else "trained",
        reason=model.reason if failed else "",
        runtime=runtime,
        idle_millijoules={}
        if failed
        else {n: 3000 * IDLE_WATTS.get(n, 60.0) * 0.98 for n in set(night.nodes.tolist())},
        idle_evidence={} if failed else {n: _idle_evidence(n, model.idle) for n in set(night.nodes.tolist())},
        split_evidence=None if failed else model.split,
        trained_on={}
        if failed
        else {"pod_rows": 124 * len(night.times), "node_intervals": 4 * len(night.times), "blocks": 96},
        train_seconds=7.4,
        notes=model.notes,
    )


def _idle_evidence(node: str, source: IdleSource) -> IdleEvidence:
    idle = 3000 * IDLE_WATTS.get(node, 60.0)
    return IdleEvidence(idle * 0.9, idle * 1.05, source)


def _failed(model: Model) -> Decision:
    return Decision(
        run_id=RUN_ID,
        group=model.group,
        model_name=model.name,
        model_class=model.model_class,
        improved=False,
        reason=model.reason,
        failed=True,
        champion_version="" if model.champion_error is None else "20261115T020000Z-51b0de",
    )


def _judged(folder: Path, model: Model, night: Night, seed: int) -> Decision:
    random = np.random.default_rng(seed)
    predicted = _prediction(night, model.error, random)
    champion = None if model.champion_error is None else _prediction(night, model.champion_error, random)
    constant = np.empty(len(night.measured))
    for node in np.unique(night.nodes):
        constant[night.nodes == node] = night.measured[night.nodes == node].mean()
    _write_trace(folder, night, predicted, champion)
    reference = constant if champion is None else champion
    blocks = _blocks(night, predicted, reference)
    scores = [score_of(night, values) for values in (predicted, reference, constant)]
    gain = 100 * (1 - scores[0].mape_percent / scores[1].mape_percent)
    differences = [block.reference_mape_percent - block.candidate_mape_percent for block in blocks]
    noise = 196 * float(np.std(differences)) / len(blocks) ** 0.5 / scores[1].mape_percent
    beats_constant = scores[0].mape_percent < scores[2].mape_percent * (1 - noise / 100)
    improved = gain > noise and beats_constant and not model.gate
    return Decision(
        run_id=night.window.run_id,
        group=model.group,
        model_name=model.name,
        model_class=model.model_class,
        improved=improved,
        reason=_reason(model, scores, noise, beats_constant=beats_constant),
        candidate=scores[0],
        champion=None if champion is None else scores[1],
        champion_version="" if champion is None else "20261115T020000Z-51b0de",
        baselines={"constant": scores[2]},
        improvement_percent=gain,
        noise_percent=noise,
        gates=(
            Gate(name="loads", passed=True, detail="from its files, as an estimator loads them"),
            Gate(name="idle", passed=True, detail="between zero and the least that each node draws"),
            Gate(name="pods at rest", passed=not model.gate, detail=model.gate or "a pod that does nothing gets 0 mJ"),
            Gate(name=BEATS_CONSTANT, passed=beats_constant, detail=f"error {gain:.1f} % (±{noise:.1f}) smaller"),
        ),
        blocks=blocks,
        held_out={"pod_rows": 31 * len(night.times), "node_intervals": len(night.times), "blocks": len(blocks)},
    )


def _prediction(night: Night, error: float, random: np.random.Generator) -> np.ndarray:
    slow = np.repeat(random.normal(0, 1.1 * error, len(night.times) // 20 + 1), 20)[: len(night.times)]
    mean = night.measured.mean()
    pulled = night.measured + min(error, 0.5) * 1.2 * (mean - night.measured)
    return np.maximum(pulled * (1 + slow + random.normal(0, 0.5 * error, len(night.times))), 0)


def _write_trace(folder: Path, night: Night, candidate: np.ndarray, champion: np.ndarray | None) -> None:
    columns = {
        "timestamp": night.times,
        "node": night.nodes.tolist(),
        "measured_millijoules": night.measured,
        "candidate_millijoules": candidate,
        "champion_millijoules": [None] * len(candidate) if champion is None else champion,
        "block_start_seconds": night.blocks,
    }
    table = pa.table({name: pa.array(values) for name, values in columns.items()}).cast(TRACE_SCHEMA)
    pq.write_table(table, folder / TRACE_FILE, row_group_size=1000)


def score_of(night: Night, predicted: np.ndarray) -> Score:
    off = predicted - night.measured
    relative = 100 * np.abs(off) / night.measured
    busy = night.measured > (night.measured.min() + night.measured.max()) / 2
    return Score(
        mae_millijoules=float(np.abs(off).mean()),
        mse_millijoules2=float((off**2).mean()),
        mape_percent=float(relative.mean()),
        bias_percent=float(100 * off.sum() / night.measured.sum()),
        busy_mape_percent=float(relative[busy].mean()),
    )


def _blocks(night: Night, candidate: np.ndarray, reference: np.ndarray) -> tuple[BlockScore, ...]:
    def error(values: np.ndarray, rows: np.ndarray) -> float:
        return float(100 * (np.abs(values - night.measured) / night.measured)[rows].mean())

    scores = []
    for start in np.unique(night.blocks):
        rows = night.blocks == start
        scores.append(
            BlockScore(
                block_start_seconds=int(start),
                node_intervals=int(rows.sum()),
                weight=1.0,
                candidate_mape_percent=error(candidate, rows),
                reference_mape_percent=error(reference, rows),
            )
        )
    return tuple(scores)


def _reason(model: Model, scores: list[Score], noise: float, *, beats_constant: bool) -> str:
    candidate, reference, constant = (score.mape_percent for score in scores)
    points = noise / 100 * reference
    named = "a constant" if model.champion_error is None else "the champion"
    errors = f"{candidate:.1f} % against {reference:.1f} % for {named}"
    if model.gate:
        return f"{errors}, but {model.gate}"
    if not beats_constant:
        errors = f"{candidate:.1f} % against {constant:.1f} % for a constant"
        return f"not better than a constant within noise: {errors}; this group carries almost no signal here"
    gain = reference - candidate
    outcome = "better by" if gain > points else "worse by" if -gain > points else "no difference beyond"
    return f"{errors}, {outcome} {'more than ' if abs(gain) > points else ''}noise (±{points:.2g})"


def realistic_models() -> list[Model]:
    """Six groups: some replaced, kept, failed, refused by a gate, without signal, published for the first time."""
    g = FeatureGroup
    note = ("fitted on every row; idle pulled to the quietest 2 % of intervals",)
    return [
        Model(g.FULL, "concave-basis", error=0.024, champion_error=0.0245, notes=note),
        Model(g.FULL, "additive-network", "keras", error=0.026, champion_error=0.034),
        Model(g.WORKLOAD_ONLY, "concave-basis", error=0.0238, champion_error=0.0285, notes=note),
        Model(g.WORKLOAD_ONLY, "linear", error=0.11, champion_error=0.11),
        Model(g.WORKLOAD_ONLY, "additive-network", "keras", error=0.029, champion_error=0.027),
        Model(g.COUNTER_ONLY, "concave-basis", error=0.030, champion_error=0.0355, notes=note),
        Model(g.COUNTER_ONLY, "linear", error=0.128, champion_error=0.126),
        Model(g.COUNTER_ONLY, "additive-network", "keras", error=None),
        Model(g.CGROUP_ONLY, "concave-basis", error=0.2, champion_error=None),
        Model(g.CGROUP_ONLY, "additive-network", "keras", error=0.19, champion_error=0.185),
        Model(g.BPF_ONLY, "concave-basis", error=0.13, champion_error=None),
        Model(
            g.BPF_ONLY,
            "additive-network",
            "keras",
            error=0.12,
            champion_error=0.125,
            gate="a pod that does nothing gets 310 mJ, all such pods of worker-a 6.1 % of its energy",
        ),
        Model(g.KUBELET_ONLY, "concave-basis", error=0.42, champion_error=None),
        Model(g.KUBELET_ONLY, "additive-network", "keras", error=0.45, champion_error=None),
    ]


def realistic_run(folder: Path, models: list[Model] | None = None, hours: float = 2) -> Run:
    return build(
        folder,
        models or realistic_models(),
        night(hours),
        set_apart={
            "pod_stat_data": {"impossible": 212, "missing_label": 9},
            "pkg_data": {"counter_wrap": 3, "first_sample": 6, "duplicate": 41},
        },
        part_set_apart={"no_energy": 118, "lost_pod_row": 64, "gap_beside_held_out": 201},
        without_signal={FeatureGroup.KUBELET_ONLY: ("container_cpu_usage_seconds_total",)},
        missing_metrics=("node_cpu_scaling_frequency_hertz",),
    )
