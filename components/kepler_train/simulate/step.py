"""The step: simulate a window and write it as recordings."""

from __future__ import annotations

import logging
from pathlib import Path

from kepler_train.simulate.spec import SimulationSpec

_log = logging.getLogger("kepler_train")


def run(spec: SimulationSpec, out: Path) -> tuple[Path, ...]:
    """Write what `spec` describes to the folder `out`; returns the recordings, by node and time.

    Recordings hold four metrics as Prometheus answers them; `out/truth/*.parquet` holds what each pod truly used
    (`recording.TRUTH_SCHEMA`). A file holds one node and about 50,000 pod samples, and so does memory.
    """
    from kepler_train.simulate.cluster import Cluster  # noqa: PLC0415
    from kepler_train.simulate.recording import TRUTH_FOLDER, write_node  # noqa: PLC0415

    (out / TRUTH_FOLDER).mkdir(parents=True, exist_ok=True)
    recordings: list[Path] = []
    for node in Cluster(spec).nodes:
        recordings += write_node(node, out)
        _log.info("simulated %s: %d intervals, %d files so far", node.name, spec.intervals, len(recordings))
    return tuple(recordings)
