"""Training pipelines used alone, in a notebook or a script: compare and publish by the workflow's own code.

from kepler_train.standalone import ModelStore
MyPipeline(store=ModelStore("./models")).train(pod_stat_data, node_stat_data, freq_data, pkg_data)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from kepler_train.contract.models import Decision
from kepler_train.evaluate import step as evaluate
from kepler_train.publish import step as publish
from kepler_train.store import open_store


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
