"""The step `canary`: what evaluation found about a champion that was new is what is served from now on."""

from __future__ import annotations

import logging
from pathlib import Path

from kepler_train.contract.models import read_decision
from kepler_train.publish.models import go_back
from kepler_train.publish.serving import keep_serving
from kepler_train.store import open_store

_log = logging.getLogger("kepler_train")


def run(decision: Path, store: str) -> None:
    """Go back to the version before where the new champion is worse; else note that it stays. Again changes nothing.

    Raises StoreError where the store fails or another champion comes in between, DamagedModel where the version before
    is not whole: then it serves what it served.
    """
    judged = read_decision(decision)
    canary, name = judged.canary, f"{judged.group.value}/{judged.model_name}"
    if canary is None or canary.problem:
        return
    target = open_store(store)
    served = target.read_index().served(judged.group, judged.model_name)
    if not canary.worse:
        keep_serving(target, judged.group, judged.model_name, canary.version)
    elif served is not None and served.version in {canary.version, canary.before}:
        go_back(
            target, judged.group, judged.model_name, canary.before, in_place_of=canary.version, run_id=judged.run_id
        )
        _log.info("%s: %s is taken back, %s is served again", name, canary.version, canary.before)
