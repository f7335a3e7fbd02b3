"""Training pipelines used alone, in a notebook or a script: read a window, compare and publish by the workflow's code.

from kepler_train.standalone import ModelStore, frames_of
MyPipeline(store=ModelStore("./models")).train(*frames_of("recordings"))
"""

from __future__ import annotations

import tempfile
from datetime import datetime, timezone
from pathlib import Path

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.models import Decision
from kepler_train.contract.tables import (
    FREQUENCY,
    FREQUENCY_SCHEMA,
    NODE_STAT,
    NODE_STAT_SCHEMA,
    PACKAGE,
    PACKAGE_SCHEMA,
    POD_STAT,
    POD_STAT_SCHEMA,
)
from kepler_train.contract.window import SUMMARY_FILE
from kepler_train.evaluate import step as evaluate
from kepler_train.extract import resolve
from kepler_train.extract import step as extract
from kepler_train.publish import step as publish
from kepler_train.store import open_store
from kepler_train.train.frames import Frames, read_frame


class ModelStore:
    """A store whose champions candidates are compared with, and that an improved one is published to."""

    def __init__(self, address: str) -> None:
        """Take a directory's path or `s3://bucket/prefix`; raises WrongUsage for anything else."""
        open_store(address)
        self.address = address

    def update(self, candidate: Path, held_out_part: Path) -> Decision:
        """Judge a candidate against the champion on a held-out part, and publish it if it is better.

        Raises what the steps evaluate and publish raise.
        """
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "decision"
            decision = evaluate.run(candidate, held_out_part, self.address, folder)
            if decision.improved:
                publish.run(candidate, folder, self.address)
            else:
                publish.catch_up(self.address)
        return decision


def frames_of(folder: str | Path) -> Frames:
    """Read a window, held-out time included, as the four data frames that `train` takes; all of it is in memory.

    `folder` holds recordings (`*.json`, `*.json.gz`), or is a window as a run leaves it at
    `artifacts/…/extract/window`. Raises WrongUsage where it is neither, SourceError or NoData for bad recordings.
    """
    folder = Path(folder)
    if (folder / SUMMARY_FILE).is_file():
        return Frames(
            read_frame(folder, POD_STAT, POD_STAT_SCHEMA),
            read_frame(folder, NODE_STAT, NODE_STAT_SCHEMA),
            read_frame(folder, FREQUENCY, FREQUENCY_SCHEMA),
            read_frame(folder, PACKAGE, PACKAGE_SCHEMA),
        )
    recordings = sorted(str(file) for pattern in ("*.json", "*.json.gz") for file in folder.glob(pattern))
    if not recordings:
        raise WrongUsage(f"{folder} holds neither recordings nor an extracted window; give a folder of one of them")
    with tempfile.TemporaryDirectory() as scratch:
        window = Path(scratch) / "window"
        extract.run(resolve.run(recordings=recordings, now=datetime.now(timezone.utc)), window)
        return frames_of(window)
