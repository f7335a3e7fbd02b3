"""Runtimes: the library versions that models are made with, and that their readers have. A model binds to its own.

A pickle or a Keras file loads, if at all, where it is read with the versions it was written with. So a run has one
runtime, in whose interpreter it trains and judges; a store serves models of one runtime; and whoever reads it says
which one it is.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata

from kepler_train.contract.errors import WrongUsage

CURRENT = "current"
"""The versions of this project's own lock file."""


@dataclass(frozen=True)
class Runtime:
    """An interpreter and its libraries."""

    name: str
    image: str
    """The name of its image, for tasks in a cluster."""
    python: str = ""
    """The version of Python that hosts it here; empty: the project's own."""
    lock: str = ""
    """The file in `requirements/` with all its libraries, none of which needs another."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library to the beginning of its version: what an interpreter must have to be this runtime."""


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime(CURRENT, image="runtime-current"),
        # What the published images of kepler-estimator run. They have Python 3.7 and 3.8, which read what 3.10 writes.
        Runtime(
            "estimator-2022",
            image="runtime-estimator-2022",
            python="3.10",
            lock="runtime-estimator-2022.lock",
            versions={"numpy": "1.22.", "sklearn": "1.0.2", "keras": "2.9."},
        ),
    )
}

_DISTRIBUTIONS = {
    "numpy": ("numpy",),
    "sklearn": ("scikit-learn",),
    "keras": ("keras",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
}
"""Libraries that a model's files are made of, and the names under which they are installed."""


def runtime_named(name: str) -> Runtime:
    """Find a runtime by its name; raises WrongUsage with the known names for any other."""
    if name not in RUNTIMES:
        raise WrongUsage(f"no runtime is called {name!r}; there are {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def runtime_here() -> str:
    """Name the runtime that this interpreter is."""
    installed = installed_versions()
    for runtime in RUNTIMES.values():
        wanted = runtime.versions.items()
        if wanted and all(installed.get(library, "").startswith(version) for library, version in wanted):
            return runtime.name
    return CURRENT


def require_runtime(name: str) -> None:
    """Raise WrongUsage where this interpreter is not that runtime, before it makes or opens a model."""
    here = runtime_here()
    if name != here:
        installed = ", ".join(f"{library} {version}" for library, version in installed_versions().items())
        raise WrongUsage(
            f"this is runtime {here} (Python {platform.python_version()}, {installed}), not {name}; a model is made "
            "and opened only in its own runtime: give this task the interpreter or image of that runtime"
        )


def installed_versions() -> dict[str, str]:
    """Versions of the libraries that models are made of, those that are installed; imports none of them."""
    found = {library: next(filter(None, map(_version, names)), "") for library, names in _DISTRIBUTIONS.items()}
    return {library: version for library, version in found.items() if version}


def other_versions(made_with: Mapping[str, str]) -> str:
    """Name the libraries that a model was made with in another version than is installed; empty where none.

    What counts is major and minor version: a bug fix does not change what is read.
    """
    differing = differing_versions(made_with, installed_versions())
    return ", ".join(f"{library} {made_with[library]} (here {version})" for library, version in differing.items())


def differing_versions(made_with: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Give the versions among `others` that are of another major or minor one than a model was made with."""
    return {
        library: version
        for library, version in others.items()
        if library in made_with and made_with[library].split(".")[:2] != version.split(".")[:2]
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
