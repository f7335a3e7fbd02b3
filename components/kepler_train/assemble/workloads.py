"""Which workload a pod belongs to: its namespace and its name without what Kubernetes adds to make it unique."""

from __future__ import annotations

import re

_LETTERS = "[bcdfghjklmnpqrstvwxz2456789]"
"""Kubernetes' alphabet for the ends of names."""
_UNIQUE = re.compile(
    rf"(?:-[0-9a-f]{{8,10}}-{_LETTERS}{{5}}"  # a deployment's pod, by a hash in hexadecimal digits ...
    rf"|-{_LETTERS}{{6,10}}-{_LETTERS}{{5}}"  # ... or in Kubernetes' own letters
    rf"|-\d{{6,}}-{_LETTERS}{{5}}"  # a cron job's
    rf"|-{_LETTERS}{{5}}"  # a daemon set's or a job's
    r"|-\d{1,5})$"  # a stateful set's
)


def workload_of(namespace: str, pod: str) -> str:
    """Name a pod's workload, `namespace/name`."""
    return f"{namespace}/{_UNIQUE.sub('', pod)}"
