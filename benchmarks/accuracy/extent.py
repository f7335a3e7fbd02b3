"""How much of the benchmark is run."""

from __future__ import annotations

from dataclasses import dataclass

from kepler_train.simulate.spec import World


@dataclass(frozen=True)
class Extent:
    """The size of each part."""

    seeds: tuple[int, ...] = (1, 2, 3)
    """Of the simulator."""
    worlds: tuple[World, ...] = tuple(World)
    trainings: int | None = None
    """How many of the simulated training windows; all if None."""
    groups: int | None = None
    """How many of the feature groups; all if None."""
    simulated_seconds: float = 2400.0
    """Length of a training window."""
    kinds_left_out: int | None = None
    """How many kinds of workload are left out in turn; all if None."""
    folds: int | None = None
    """How many folds of the recordings are judged; all if None."""
    timed_pod_rows: int = 500_000
    timed_rounds: int = 5


QUICK = Extent(
    seeds=(1,),
    worlds=(World.SHARED,),
    trainings=1,
    groups=1,
    simulated_seconds=600.0,
    kinds_left_out=1,
    folds=1,
    timed_pod_rows=20_000,
    timed_rounds=1,
)
"""Enough to see that all works; its figures mean little."""
