"""Where a runtime's interpreter comes from, and what is said where it cannot be had."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kepler_train.contract.errors import NoInterpreter
from kepler_train.contract.runtimes import CURRENT, RUNTIMES, Runtime
from kepler_workflow import interpreters
from kepler_workflow.interpreters import interpreter_of
from kepler_workflow.policy import read_images

RUNTIME = RUNTIMES["estimator-2022"]
POINTER = "KEPLER_TRAIN_RUNTIME_ESTIMATOR_2022"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kepler-train" / "runtimes"


@pytest.fixture
def tiny(tmp_path):
    """A runtime of this Python and one small library."""
    lines = (Path(__file__).parents[3] / "requirements" / "run.lock").read_text().split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("idna=="))
    lock = tmp_path / "tiny.lock"
    lock.write_text("\n".join(lines[start : start + 3]).rstrip(" \\"))
    return Runtime("tiny", image="", python=f"{sys.version_info.major}.{sys.version_info.minor}", lock=str(lock))


def test_the_current_runtime_is_this_interpreter():
    assert interpreter_of(RUNTIMES[CURRENT]) == sys.executable


def test_an_interpreter_that_is_pointed_to_must_be_the_runtime(monkeypatch):
    monkeypatch.setenv(POINTER, sys.executable)
    with pytest.raises(NoInterpreter, match=f"this is runtime current .*; install {RUNTIME.lock} there, or unset"):
        interpreter_of(RUNTIME)
    monkeypatch.setenv(POINTER, "/nowhere/python")
    with pytest.raises(NoInterpreter, match=f"cannot start /nowhere/python.*unset {POINTER}"):
        interpreter_of(RUNTIME)


def test_without_a_python_that_hosts_it_the_remedy_is_told(cache, tmp_path, monkeypatch):
    monkeypatch.delenv(POINTER, raising=False)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    refuses = tmp_path / "bin" / "python3.10"
    refuses.parent.mkdir()
    refuses.write_text("#!/bin/sh\necho 'pyenv: python3.10: command not found' >&2\nexit 127\n")
    refuses.chmod(0o755)
    monkeypatch.setenv("PATH", str(refuses.parent))
    with pytest.raises(NoInterpreter, match=rf"needs Python 3\.10, and no python3\.10 that works.*point {POINTER} to"):
        interpreter_of(RUNTIME)


def test_without_its_lock_file_the_remedy_is_told(cache, tmp_path):
    runtime = Runtime("installed", image="", python="3.10", lock=str(tmp_path / "no.lock"))
    with pytest.raises(NoInterpreter, match=r"no\.lock to make runtime installed from; run from a checkout, or point"):
        interpreter_of(runtime)


@pytest.mark.parametrize("runtime", [runtime for runtime in RUNTIMES.values() if runtime.lock])
def test_the_lock_file_has_the_versions_that_the_runtime_must_have(runtime):
    lock = interpreters._lock_of(runtime).read_text()
    assert runtime.image in read_images()
    for library, version in runtime.versions.items():
        distribution = {"sklearn": "scikit-learn"}.get(library, library)
        assert f"\n{distribution}=={version}" in lock


def test_it_is_made_once_whoever_wants_it(cache, tiny, caplog):
    caplog.set_level(logging.INFO, "kepler_train")
    left = cache / f".{interpreters._folder_of(tiny).name}.killed" / "runtime"
    left.mkdir(parents=True)
    with ThreadPoolExecutor(3) as threads:
        made = list(threads.map(interpreters._made, [tiny] * 3))
    assert len(set(made)) == 1
    assert made[0].is_file()
    assert [record.getMessage().split()[0] for record in caplog.records] == ["making", "made"]
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1
    with pytest.raises(
        NoInterpreter, match=f"is not runtime tiny: .*No module named 'kfp'.*remove {made[0].parents[1]}"
    ):
        interpreter_of(tiny)


def test_a_library_that_is_not_the_locks_leaves_nothing_behind(cache, tiny):
    lock = Path(tiny.lock)
    lock.write_text(lock.read_text().replace("sha256:", "sha256:0"))
    with pytest.raises(NoInterpreter, match="cannot make runtime tiny; mend this"):
        interpreter_of(tiny)
    assert not [path for path in cache.iterdir() if path.is_dir()]
