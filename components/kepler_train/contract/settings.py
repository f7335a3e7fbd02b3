"""The bucket's settings in the environment: by their usual names or, in a task of the workflow, by names of our own."""

from __future__ import annotations

import os


def own_name(name: str) -> str:
    """Give the name of ours for a setting of the bucket's.

    Kubeflow's launcher shares a task's container, and would take the usual names for its own artifacts' bucket.
    """
    return f"KEPLER_TRAIN_{name}"


def bucket_setting(name: str) -> str | None:
    """Read a setting such as AWS_REGION, by the name of ours where that is set."""
    return os.environ.get(own_name(name)) or os.environ.get(name)
