"""What both the workflow and its peer are asked to do: a document that travels to their processes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from kepler_train.contract.features import FeatureGroup


class Task(msgspec.Struct, frozen=True):
    """A window to read, the training pipelines to run on it, and a new folder to work in."""

    pipelines: dict[str, tuple[str, ...]]
    """Feature group to names of its pipelines."""
    start: datetime
    end: datetime
    folder: Path
    prometheus_url: str = ""
    recordings: tuple[str, ...] = ()

    @property
    def groups(self) -> dict[FeatureGroup, tuple[str, ...]]:
        """The pipelines by group."""
        return {FeatureGroup(group): names for group, names in self.pipelines.items()}

    @property
    def fits(self) -> int:
        """How many models are made."""
        return sum(map(len, self.pipelines.values()))


class StepUse(msgspec.Struct, frozen=True):
    """What one task or part of the work used."""

    step: str
    cpu_seconds: float
    peak_bytes: int


class Done(msgspec.Struct, frozen=True):
    """What was done, and what each step of it used, every time."""

    pod_rows: int
    steps: tuple[StepUse, ...]


def read_task(path: Path) -> Task:
    """Read a task."""
    return msgspec.json.decode(path.read_bytes(), type=Task, dec_hook=lambda kind, value: kind(value))


def write(path: Path, document: Task | Done) -> None:
    """Write a task, or what was done."""
    path.write_bytes(msgspec.json.encode(document, enc_hook=str))


def read_done(path: Path) -> Done:
    """Read what was done."""
    return msgspec.json.decode(path.read_bytes(), type=Done)
