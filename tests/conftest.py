"""Shared fixtures. In CI every real component must be there: what is missing there is an error, elsewhere a skip."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.signing_keys import use_new_key

IN_CI = os.environ.get("CI", "").lower() == "true"


def missing(what: str) -> None:
    """Skip the test, or fail it in CI, because a real component is not on this machine."""
    if IN_CI:
        pytest.fail(f"{what}; in CI every real component is there")
    pytest.skip(what)


@pytest.fixture(scope="session")
def recordings() -> dict[str, Path]:
    """The recordings of a real Kepler, by name: `coremark`, `idle`, `short`."""
    folder = Path(os.environ.get("KEPLER_RECORDINGS", Path(__file__).parents[2] / "shared" / "data"))
    names = {
        "coremark": "kepler_coremark_ondemand.json.gz",
        "idle": "kepler_idle.json.gz",
        "short": "kepler_short_with_frequency.json.gz",
    }
    found = {name: folder / file for name, file in names.items()}
    if not all(path.is_file() for path in found.values()):
        missing(f"no recordings in {folder}; set KEPLER_RECORDINGS to the folder that holds them")
    return found


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        missing("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


_keys = tempfile.TemporaryDirectory(prefix="kepler-train-keys-")


def pytest_configure(config: pytest.Config) -> None:
    """Let all tests, and every process they start, heed interrupts, publish signed models and accept no others."""
    # Tests that were started in the background ignore interrupts, and so would all processes that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # a worker inherits the environment
        use_new_key(Path(_keys.name), os.environ)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out whole runs of minutes, except in CI and where tests are asked for by mark."""
    if IN_CI or config.getoption("-m"):
        return
    long = [item for item in items if item.get_closest_marker("e2e")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
