"""Candidates and champions as files, and held-out parts to judge them on."""

from __future__ import annotations

from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np

from kepler_train.assemble import step as assemble
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import (
    CANDIDATE_FILE,
    MODEL_FOLDER,
    Candidate,
    Decision,
    Index,
    Provenance,
    Served,
)
from kepler_train.contract.runtimes import CURRENT
from kepler_train.contract.tables import NODE_STAT, PACKAGE
from kepler_train.contract.window import RecordingSource, Window
from kepler_train.store import open_store
from tests.unit.assemble.windows import IDLE_MILLIJOULES, MILLIJOULES_PER_CPU_MILLISECOND, steady_node, write_window
from tests.unit.estimators.models import linear, write_model

BPF = FeatureGroup.BPF_ONLY
WINDOW = Window(run_id="run", source=RecordingSource(files=("made.json",)))
NAME = "spline"


def true_model(scale=1.0):
    """What the nodes of `steady_node` do to cpu time, times a scale."""
    return linear([scale * MILLIJOULES_PER_CPU_MILLISECOND])


def noisy_node(node="node1", *, noise=0.03, seed=0, **options):
    """A steady node whose measured energy is off by so much (one standard deviation, relative)."""
    frames = steady_node(node, seed=seed, **options)
    factor = 1 + noise * np.random.default_rng(seed + 1000).standard_normal(len(frames.times()))
    rows = frames.tables[PACKAGE]
    rows["package_energy_millijoules"] *= np.repeat(factor, len(rows) // len(factor))
    frames.tables[NODE_STAT]["node_curr_energy_in_pkg_joule"] *= factor
    return frames


def held_out_part(folder: Path, *nodes, group=BPF, **options) -> Path:
    """Assemble nodes into a held-out part."""
    window = write_window(folder / "window", *(nodes or (noisy_node(),)), **options)
    assemble.run([window], group, folder / "training", folder / "held_out")
    return folder / "held_out"


def write_candidate(folder: Path, model=None, *, group=BPF, features=None, idle=IDLE_MILLIJOULES, **options) -> Path:
    """Write a candidate: a true model unless told otherwise; `idle` is of node1, or a dict of nodes."""
    features = tuple(features or group.features)
    usual = {
        "status": "trained",
        "reason": "",
        "model_name": NAME,
        "model_class": "scikit",
        "runtime_name": CURRENT,
        "runtime": {},
    }
    described = {key: options.pop(key, value) for key, value in usual.items()}
    write_model(
        folder / MODEL_FOLDER,
        true_model() if model is None else model,
        features=features,
        model_name=described["model_name"],
        **options,
    )
    Candidate(
        run_id="run",
        window=WINDOW,
        group=group,
        features=features,
        idle_millijoules=idle if isinstance(idle, dict) else {"node1": idle},
        **described,
    ).write(folder / CANDIDATE_FILE)
    return folder


def serve(
    store: Path, candidate: Path, version="v1", *, decision: Decision | None = None, parent="", new=False
) -> None:
    """Put a candidate's files into a store as the champion of its name, whatever they are worth."""
    described = Candidate.read(candidate / CANDIDATE_FILE)
    decision = decision or Decision(
        run_id="run",
        group=described.group,
        model_name=described.model_name,
        model_class=described.model_class,
        improved=True,
        reason="",
    )
    provenance = Provenance(
        group=described.group,
        model_name=described.model_name,
        version=version,
        parent=parent,
        published=datetime(2026, 1, 1, tzinfo=timezone.utc),
        candidate=described,
        decision=decision,
        files={
            file.name: sha256(file.read_bytes()).hexdigest() for file in sorted((candidate / MODEL_FOLDER).iterdir())
        },
    )
    opened = open_store(str(store))
    provenance = opened.add_version(candidate / MODEL_FOLDER, provenance)
    served = Served(
        version=version,
        published=provenance.published,
        provenance_sha256=sha256(provenance.encode()).hexdigest(),
        new=new,
    )
    opened.update_index(lambda index: with_served(index, described, served))


def with_served(index: Index, described: Candidate, served: Served) -> Index:
    models = {group: dict(names) for group, names in index.models.items()}
    models.setdefault(described.group.value, {})[described.model_name] = served
    return msgspec.structs.replace(index, models=models, runtime=described.runtime_name)


def version_folder(store: Path, version="v1", group=BPF) -> Path:
    return store / "models" / group.value / NAME / version
