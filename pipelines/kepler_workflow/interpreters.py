"""The interpreter of a runtime on this machine: this one, one that is pointed to, or one that is made once and kept."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import kepler_train
from kepler_train.contract.errors import NoInterpreter
from kepler_train.contract.runtimes import Runtime

_LOCKS = Path(__file__).parents[2] / "requirements"
_CHECK = """\
import sys, kfp.dsl.executor_main, msgspec, pyarrow
from kepler_train.contract.runtimes import require_runtime
require_runtime(sys.argv[1])
"""
_ERROR_LINES = 8

_log = logging.getLogger("kepler_train")


def interpreter_of(runtime: Runtime) -> str:
    """Find the interpreter of a runtime, or make it in `~/.cache/kepler-train/runtimes`, which takes minutes, once.

    An interpreter is pointed to by an environment variable such as KEPLER_TRAIN_RUNTIME_ESTIMATOR_2022. Raises
    NoInterpreter where it is not that runtime, or cannot be made.
    """
    if not runtime.python:
        return sys.executable
    variable = pointer_of(runtime)
    python = os.environ.get(variable)
    if python is None:
        python, remedy = str(_made(runtime)), f"remove {_folder_of(runtime)}, and it is made again"
    else:
        remedy = f"install {runtime.lock} there, or unset {variable}"
    _check(python, runtime, remedy)
    return python


def pointer_of(runtime: Runtime) -> str:
    """Name the environment variable that points to a runtime's interpreter."""
    return "KEPLER_TRAIN_RUNTIME_" + runtime.name.upper().replace("-", "_")


def library_path(folder: Path) -> Path:
    """Make the folder a place from which any interpreter imports this project, and none of its dependencies."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kepler_train").symlink_to(Path(kepler_train.__file__).parent, target_is_directory=True)
    return folder


def _check(python: str, runtime: Runtime, remedy: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "_KFP_RUNTIME": "true", "PYTHONPATH": str(library_path(Path(folder)))}
        try:
            subprocess.run(  # noqa: S603 (an interpreter that the user named, or that was made here)
                [python, "-c", _CHECK, runtime.name], check=True, capture_output=True, text=True, env=environment
            )
        except OSError as cause:
            raise NoInterpreter(f"cannot start {python}, runtime {runtime.name}: {cause.strerror}; {remedy}") from cause
        except subprocess.CalledProcessError as cause:
            said = cause.stderr.strip().splitlines() or ["it said nothing"]
            raise NoInterpreter(f"{python} is not runtime {runtime.name}: {said[-1]}; {remedy}") from cause


def _made(runtime: Runtime) -> Path:
    """The interpreter in the cache, made if it is not there; of several that want it, one makes it."""
    folder = _folder_of(runtime)
    python = folder / "bin" / "python"
    if python.exists():
        return python
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not python.exists():
                for left in filter(Path.is_dir, folder.parent.glob(f".{folder.name}.*")):  # of one that was killed
                    shutil.rmtree(left)
                _make(runtime, folder)
    except OSError as cause:
        raise NoInterpreter(f"cannot make {folder}: {cause.strerror}; is there room, 1.5 GB?") from cause
    return python


def _make(runtime: Runtime, folder: Path) -> None:
    host = _host(runtime)
    _log.info("making runtime %s in %s, once a machine: some minutes", runtime.name, folder)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        new = Path(scratch) / "runtime"
        # No installed script is ever started, so that the folder can move to its place when it is whole.
        install = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
        for words in (
            [host, "-m", "venv", str(new)],
            [str(new / "bin" / "python"), "-m", "pip", "install", *install, "-r", str(_lock_of(runtime))],
        ):
            ended = subprocess.run(words, check=False, capture_output=True, text=True)  # noqa: S603
            if ended.returncode:
                said = "\n".join((ended.stderr or ended.stdout).strip().splitlines()[-_ERROR_LINES:])
                raise NoInterpreter(
                    f"cannot make runtime {runtime.name}; mend this, or point {pointer_of(runtime)} to a Python "
                    f"{runtime.python} with {runtime.lock} installed\n{said}"
                )
        new.replace(folder)
    _log.info("made runtime %s in %.0f s", runtime.name, time.monotonic() - started)


def _folder_of(runtime: Runtime) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kepler-train" / "runtimes"
    return cache / f"{runtime.name}-{sha256(_lock_of(runtime).read_bytes()).hexdigest()[:12]}"


def _lock_of(runtime: Runtime) -> Path:
    """The lock file, which a checkout of this project has in `requirements/`."""
    lock = _LOCKS / runtime.lock
    if not lock.is_file():
        raise NoInterpreter(
            f"there is no {lock} to make runtime {runtime.name} from; run from a checkout, or point "
            f"{pointer_of(runtime)} to an interpreter that has the libraries of {runtime.lock}"
        )
    return lock


def _host(runtime: Runtime) -> str:
    """Find a Python of the version that hosts a runtime."""
    for python in _pythons(f"python{runtime.python}"):
        show = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        ended = subprocess.run(show, check=False, capture_output=True, text=True)  # noqa: S603
        if ended.stdout.strip() == runtime.python:
            return python
    raise NoInterpreter(
        f"runtime {runtime.name} needs Python {runtime.python}, and no python{runtime.python} that works is on the "
        f"PATH or among pyenv's versions; install it, or point {pointer_of(runtime)} to one that has {runtime.lock}"
    )


def _pythons(name: str) -> Iterator[str]:
    """What may be a Python of that name: on the PATH (pyenv's stand-in may refuse), and pyenv's versions themselves."""
    if found := shutil.which(name):
        yield found
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob(f"versions/*/bin/{name}")))
