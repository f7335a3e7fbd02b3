"""What the store really serves now, beside what was decided; a store that is away is said, never fatal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kepler_train.contract.errors import KeplerTrainError
from kepler_train.contract.models import Decision
from kepler_train.report.history import MOST_RUNS, Point, points_of
from kepler_train.report.outcome import full_name
from kepler_train.store import Store, open_store


@dataclass(frozen=True)
class Serving:
    """What is served under one model's name after the run."""

    version: str
    """Empty where the store serves none."""
    published: datetime | None
    provenance_sha256: str
    by_this_run: bool
    problem: str
    """What a person must look at: decided but not served, damaged; empty if all is well."""
    history: tuple[Point, ...]
    """Errors of the champions up to this version, oldest first."""


def signing_words(address: str) -> str:
    """Say who signs what this run publishes; a person must see where nobody does."""
    try:
        keys = open_store(address).keys
    except KeplerTrainError as cause:
        return f"unknown: {cause}"
    if not keys.are_used:
        return "none: this run was told to publish and to trust models without a key"
    return f"verified, with keys {', '.join(keys.trusted)}"


def read_serving(address: str, decisions: Sequence[Decision]) -> tuple[dict[str, Serving], str]:
    """Look up each decision's name in the store: full name to what is served, and why not if the store is away."""
    try:
        store = open_store(address)
        index = store.read_index()
        runs = tuple(store.runs(MOST_RUNS))
    except KeplerTrainError as cause:
        return {}, str(cause)
    found = {}
    for decision in decisions:
        served = index.served(decision.group, decision.model_name)
        version = served.version if served else ""
        by_this_run, problem = _check_published(store, decision, version) if decision.improved else (False, "")
        if decision.canary is not None and decision.canary.worse and version == decision.canary.version:
            problem = f"{version} was to be taken back, but the store still serves it; look at the canary task's log"
        elif not decision.improved and version not in {"", decision.champion_version}:
            champion = decision.champion_version or "no champion"
            problem = f"{version} came in between, and the next run will compare with it; this one did with {champion}"
        found[full_name(decision)] = Serving(
            version=version,
            published=served.published if served else None,
            provenance_sha256=served.provenance_sha256 if served else "",
            by_this_run=by_this_run,
            problem=problem,
            history=points_of(store, decision, version, runs),
        )
    return found, ""


def _check_published(store: Store, decision: Decision, version: str) -> tuple[bool, str]:
    """Tell whether what is served under the name of a model that was to be published is this run's."""
    if version in {"", decision.champion_version}:
        still = f"still serves {version}" if version else "serves no model of this name"
        return False, f"it was to be published, but the store {still}; look at the publish task's log"
    try:
        provenance = store.provenance_of(decision.group, decision.model_name, version).provenance
    except KeplerTrainError as cause:
        return False, f"version {version} is served, but cannot be used: {cause}"
    if provenance.candidate.run_id != decision.run_id:
        return False, f"the store serves {version} of run {provenance.candidate.run_id}, which came in between"
    return True, ""
