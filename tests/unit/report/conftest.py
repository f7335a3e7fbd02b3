"""Built runs, and a store that serves what a run decided."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from kepler_train.contract.models import Index, Provenance, Served, read_candidate, read_decision
from kepler_train.report import step
from kepler_train.store import open_store
from tests.unit.report.builders import Run, realistic_run

PUBLISHED = datetime(2026, 11, 22, 4, 30, tzinfo=timezone.utc)


@pytest.fixture(scope="session")
def realistic(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six groups with fourteen pipelines of every outcome."""
    return realistic_run(tmp_path_factory.mktemp("realistic"))


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., str]:
    """A function that serves a decision's model from the store at `tmp_path / "store"`, and returns its version."""

    def publish_one(folder: Path, version: str, run_id: str = "", published: datetime = PUBLISHED) -> str:
        decision, candidate = read_decision(folder), read_candidate(folder)
        model = tmp_path / "model"
        model.mkdir(exist_ok=True)
        (model / "model.sav").write_bytes(b"weights")
        provenance = Provenance(
            group=decision.group,
            model_name=decision.model_name,
            version=version,
            parent=decision.champion_version,
            published=published,
            candidate=msgspec.structs.replace(candidate, run_id=run_id or candidate.run_id),
            decision=decision,
            files={"model.sav": sha256(b"weights").hexdigest()},
        )
        store = open_store(str(tmp_path / "store"))
        provenance = store.add_version(model, provenance)
        digest = sha256(provenance.encode()).hexdigest()

        def serve(index: Index) -> Index:
            models = {group: dict(names) for group, names in index.models.items()}
            served = Served(version=version, published=provenance.published, provenance_sha256=digest)
            models.setdefault(decision.group.value, {})[decision.model_name] = served
            return Index(models=models)

        store.update_index(serve)
        return version

    return publish_one


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., str]:
    """A function that runs the report step over a run, with the store at `tmp_path / "store"`, and returns the page."""

    def report_on(run: Run, store: str = "") -> str:
        html = tmp_path / "report.html"
        markdown = tmp_path / "report.md"
        step.run(run.decisions, run.parts, store or str(tmp_path / "store"), html=html, markdown=markdown)
        return html.read_text()

    return report_on
