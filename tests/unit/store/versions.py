"""Small versions to store: what the store keeps is bytes to it."""

from __future__ import annotations

from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import Candidate, Decision, Index, Provenance, Score, Served
from kepler_train.contract.window import RecordingSource, Window
from kepler_train.store import Store

GROUP = FeatureGroup.COUNTER_ONLY
NAME = "spline"
SCORE = Score(
    mae_millijoules=1200.5, mse_millijoules2=2.5e6, mape_percent=3.5, bias_percent=-0.5, busy_mape_percent=3.0
)


def candidate(name: str = NAME, run_id: str = "20261123T020000Z-aaaa", group: FeatureGroup = GROUP) -> Candidate:
    return Candidate(
        run_id=run_id,
        window=Window(run_id=run_id, source=RecordingSource(files=("recording.json.gz",))),
        group=group,
        model_name=name,
        model_class="scikit",
        features=group.features,
        status="trained",
    )


def decision(judged: Candidate, champion_version: str = "", improved: bool = True) -> Decision:
    return Decision(
        run_id=judged.run_id,
        group=judged.group,
        model_name=judged.model_name,
        model_class=judged.model_class,
        improved=improved,
        reason="better than the champion by more than the noise",
        candidate=SCORE,
        champion_version=champion_version,
    )


def version(folder: Path, name: str = NAME, number: str = "1", files: dict[str, bytes] | None = None) -> Provenance:
    """Write a version's files into a new folder and describe them."""
    contents = files or {"metadata.json": b"{}", "model.sav": f"{name} {number}".encode(), "scaler.pkl": b"scaler"}
    folder.mkdir(parents=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    judged = candidate(name)
    return Provenance(
        group=GROUP,
        model_name=name,
        version=number,
        parent="",
        published=datetime(2026, 11, 23, 2, tzinfo=timezone.utc),
        candidate=judged,
        decision=decision(judged),
        files={file: sha256(content).hexdigest() for file, content in contents.items()},
    )


def add(store: Store, scratch: Path, name: str = NAME, number: str = "1", **options) -> Provenance:
    """Add a version to a store."""
    return store.add_version(
        scratch / f"{name}-{number}", version(scratch / f"{name}-{number}", name, number, **options)
    )


def serve(store: Store, name: str = NAME, number: str = "1") -> Served:
    """Let the index name a version that is in the store, whatever it named before."""
    stored = store.provenance_of(GROUP, name, number)
    served = Served(version=number, published=stored.provenance.published, provenance_sha256=stored.sha256)

    def change(index: Index) -> Index:
        models = {**index.models.get(GROUP.value, {}), name: served}
        return Index(models={**index.models, GROUP.value: models})

    store.update_index(change)
    return served
