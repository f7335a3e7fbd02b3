"""A small simulated window, another distribution's pipeline that fails, and runs of the whole workflow over them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

from kepler_train.simulate import step as simulate
from kepler_train.simulate.spec import SimulationSpec


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """Recordings of two nodes over 40 minutes."""
    spec = SimulationSpec(nodes=2, duration_seconds=2400.0, start=datetime(2026, 3, 2, 8, tzinfo=timezone.utc))
    return simulate.run(spec, tmp_path_factory.mktemp("simulated"))


@pytest.fixture(scope="session")
def other_distribution(tmp_path_factory):
    """A folder with an installed distribution, whose pipeline joins by entry point and cannot train."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "power_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: power-lab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kepler_train.pipelines]\nBPFOnly.hopeful = power_lab:Hopeful\n")
    (folder / "power_lab.py").write_text(
        dedent("""
            from kepler_train.train.pipeline import TrainPipeline

            class Hopeful(TrainPipeline):
                model_name = "hopeful"
                model_class = "scikit"
                model_file = "model.sav"
                features = ("curr_cpu_time",)

                def train(self, pod_stat_data, node_stat_data, freq_data, pkg_data):
                    raise ZeroDivisionError("hope is no method")
        """)
    )
    return folder


class Run(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def command(other_distribution):
    """Run the command line in a process of its own, in a folder, the other distribution being installed."""

    def run(folder: Path, *words: str) -> Run:
        ended = subprocess.run(
            [sys.executable, "-c", "import sys; from kepler_train.cli import main; sys.exit(main())", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(other_distribution)},
            capture_output=True,
            text=True,
        )
        return Run(ended.returncode, ended.stdout, ended.stderr)

    return run
