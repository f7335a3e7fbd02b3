"""The publish step: an improved candidate becomes a version of the store, is read back, and only then is served.

1. The version's files, then its provenance: nobody reads them yet.
2. All of it is read back and verified.
3. The index names it, by compare-and-swap, if the champion is still the one it was measured against.
4. What estimators pull is derived from the index (see `dialects` and `archives`).

Whoever is killed before 3 leaves a version that is not served; after 3, folders that the next run derives.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from kepler_train.contract.errors import BrokenContract, ChampionChanged
from kepler_train.contract.models import (
    Provenance,
    checksums_of,
    flat_name,
    read_candidate,
    read_decision,
)
from kepler_train.publish import dialects
from kepler_train.publish.compose import compose
from kepler_train.publish.serving import require_champion, serve_new
from kepler_train.store import open_store

_log = logging.getLogger("kepler_train")


def run(candidate: Path, decision: Path, store: str) -> Provenance:
    """Publish an improved candidate to the store at an address, and serve it; doing so again changes nothing.

    Raises WrongUsage where the decision is not `improved`, BrokenContract where candidate and decision do not belong
    together, StoreError where the store fails, ChampionChanged where another champion came in between, WrongUsage where
    it serves models of another runtime: then it serves what it served.
    """
    target = open_store(store)
    judged, decided = read_candidate(candidate), read_decision(decision)
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch) / "version"
        composed = compose(candidate, judged, decided, files)
        if decided.judged_files != checksums_of(candidate):
            raise BrokenContract(f"{candidate} does not hold the files that were judged; evaluate it again")
        group, model_name, version = composed.group, composed.model_name, composed.version
        index = target.read_index()
        index.require_runtime(judged.runtime_name, target.address)
        require_champion(index, group, model_name, composed.parent, version)
        provenance = target.add_version(files, composed)
        target.fetch_version(group, model_name, version, Path(scratch) / "read-back")
    served = serve_new(target, group, model_name, version, in_place_of=composed.parent)
    name = f"{flat_name(group, model_name)} {version}"
    _log.info("%s serves %s in place of %s", target.address, name, composed.parent or "none")
    dialects.derive(target)
    dialects.check(target, group, model_name, served)
    return provenance


def run_among_others(candidate: Path, decision: Path, store: str) -> str:
    """Publish as `run`, as one of a run's many tasks; returns the version, or nothing where another run was faster.

    That is no failure, which would end the other tasks: the report says that the better model is not served, and the
    next run compares anew.
    """
    try:
        return run(candidate, decision, store).version
    except ChampionChanged as cause:
        _log.warning("not published: %s", cause)
        return ""


def catch_up(store: str) -> None:
    """Derive what estimators pull, where a publisher was cut short before it could; writes nothing where none was.

    Every run does so, whether it publishes or not. Raises StoreError where the store fails.
    """
    target = open_store(store)
    if dialects.derive(target):
        _log.warning("what estimators pull from %s was not what it serves, and was derived anew", target.address)
