"""What each step may use and how it is treated by the engine: the one place where that is written.

Retries here cover a lost pod. What a network may refuse is tried again inside the step, since the engine's default
retries nothing that exits non-zero.
"""

from __future__ import annotations

from dataclasses import dataclass

from kfp.dsl import PipelineTask

STEPS_IMAGE = "ghcr.io/sustainable-computing-io/kepler-train-python:0.1.0"
"""The steps' image: this project, its dependencies and kfp's executor. Nothing is installed when a task starts."""


@dataclass(frozen=True)
class StepPolicy:
    """Requests, limits and treatment of one step's tasks."""

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    cached: bool
    retries: int = 2


POLICIES = {
    "resolve": StepPolicy("100m", "500m", "128Mi", "256Mi", cached=False),
    "extract": StepPolicy("1", "2", "512Mi", "1Gi", cached=False),
    "assemble": StepPolicy("1", "2", "512Mi", "1Gi", cached=True),
    "train": StepPolicy("1", "2", "1Gi", "2Gi", cached=True),
    # The champion, and with it the outcome, may have changed since: never cached.
    "evaluate": StepPolicy("1", "2", "1Gi", "2Gi", cached=False),
    "publish": StepPolicy("250m", "1", "1Gi", "2Gi", cached=False),
    "report": StepPolicy("250m", "1", "512Mi", "1Gi", cached=False),
    "verdict": StepPolicy("100m", "500m", "128Mi", "256Mi", cached=False, retries=0),
    "notify": StepPolicy("100m", "500m", "128Mi", "256Mi", cached=False),
}


def apply(task: PipelineTask, step: str) -> None:
    """Give a task the policy of its step."""
    policy = POLICIES[step]
    task.set_caching_options(enable_caching=policy.cached)
    task.set_cpu_request(policy.cpu_request).set_cpu_limit(policy.cpu_limit)
    task.set_memory_request(policy.memory_request).set_memory_limit(policy.memory_limit)
    if policy.retries:
        task.set_retry(policy.retries, backoff_duration="30s", backoff_factor=2)
