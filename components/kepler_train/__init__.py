"""Kepler power models whose per-pod outputs add up to what the node measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kepler_train.train.pipeline import Fitted as Fitted
    from kepler_train.train.pipeline import StreamingPipeline as StreamingPipeline
    from kepler_train.train.pipeline import TrainPipeline as TrainPipeline

__all__ = ["Fitted", "StreamingPipeline", "TrainPipeline"]


def __getattr__(name: str) -> Any:
    """Import what model authors use only when it is used: every step imports this package."""
    if name in __all__:
        from kepler_train.train import pipeline  # noqa: PLC0415

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
