"""Which training pipelines there are, by feature group and name: those shipped, and other people's by entry point.

Listing imports no pipeline, so it is cheap. Another distribution joins by an entry point of the group
`kepler_train.pipelines` whose name is `<feature group>.<model_name>`:

    [project.entry-points."kepler_train.pipelines"]
    "CounterOnly.my-model" = "my_package.models:MyPipeline"
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from kepler_train.contract.errors import KeplerTrainError, PipelineError, WrongUsage
from kepler_train.contract.features import FeatureGroup, group_named
from kepler_train.train.raised import said_by

if TYPE_CHECKING:
    from kepler_train.train.pipeline import TrainPipeline

ENTRY_POINTS = "kepler_train.pipelines"

_SHIPPED: dict[FeatureGroup, dict[str, str]] = {
    FeatureGroup.FULL: {
        "concave": "kepler_train.train.shipped:FullConcave",
        "concave-keras": "kepler_train.train.shipped:FullConcaveKeras",
    },
    FeatureGroup.WORKLOAD_ONLY: {
        "linear": "kepler_train.train.shipped:WorkloadLinear",
        "concave": "kepler_train.train.shipped:WorkloadConcave",
        "concave-keras": "kepler_train.train.shipped:WorkloadConcaveKeras",
    },
    FeatureGroup.COUNTER_ONLY: {
        "linear": "kepler_train.train.shipped:CounterLinear",
        "concave": "kepler_train.train.shipped:CounterConcave",
        "concave-keras": "kepler_train.train.shipped:CounterConcaveKeras",
    },
    FeatureGroup.CGROUP_ONLY: {
        "linear": "kepler_train.train.shipped:CgroupLinear",
        "curved": "kepler_train.train.shipped:CgroupCurved",
        "curved-keras": "kepler_train.train.shipped:CgroupCurvedKeras",
    },
    FeatureGroup.BPF_ONLY: {
        "linear": "kepler_train.train.shipped:BpfLinear",
        "curved": "kepler_train.train.shipped:BpfCurved",
        "curved-keras": "kepler_train.train.shipped:BpfCurvedKeras",
    },
    FeatureGroup.KUBELET_ONLY: {
        "linear": "kepler_train.train.shipped:KubeletLinear",
        "curved": "kepler_train.train.shipped:KubeletCurved",
        "curved-keras": "kepler_train.train.shipped:KubeletCurvedKeras",
    },
}


@dataclass(frozen=True)
class Entry:
    """A training pipeline that can be run."""

    group: FeatureGroup
    model_name: str
    target: str
    """`module:Class`"""
    origin: str = "kepler-train"
    """The distribution it comes from."""

    def __str__(self) -> str:
        return f"{self.group.value}/{self.model_name}"

    def load(self) -> type[TrainPipeline]:
        """Import the class; raises PipelineError, naming distribution and entry, where that fails or it is another."""
        from kepler_train.train.pipeline import check_declaration

        try:
            pipeline = class_named(self.target)
            group = check_declaration(pipeline)
        except KeplerTrainError as cause:
            raise PipelineError(f"{self} of {self.origin} cannot be used: {cause}") from cause
        if (group, pipeline.model_name) != (self.group, self.model_name):
            raise PipelineError(
                f"{self} of {self.origin} is {group.value}/{pipeline.model_name} by its class {self.target}; "
                "name the entry point <feature group>.<model_name>"
            )
        return pipeline


def class_named(target: str) -> type[TrainPipeline]:
    """Import `module:Class`; raises PipelineError where that is no TrainPipeline, whatever importing it raises."""
    from kepler_train.train.pipeline import TrainPipeline

    module_name, _, class_name = target.partition(":")
    if not module_name or not class_name:
        raise PipelineError(
            f"{target!r} does not name a class; write MODULE:CLASS, such as my_package.models:MyPipeline"
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (Exception, SystemExit) as cause:
        raise PipelineError(f"cannot import {target}: {said_by(cause)}") from cause
    if not (isinstance(found, type) and issubclass(found, TrainPipeline)):
        raise PipelineError(f"{target} is not a class derived from kepler_train.TrainPipeline")
    return found


def pipelines_of(group: FeatureGroup) -> tuple[Entry, ...]:
    """List a group's pipelines: those shipped, then others by name.

    Raises PipelineError, naming the distributions, where two share a name, or an entry point's name is not understood.
    """
    entries = [Entry(group, name, target) for name, target in _SHIPPED[group].items()]
    origins = {entry.model_name: entry.origin for entry in entries}
    for entry in sorted((e for e in _others() if e.group is group), key=lambda e: e.model_name):
        if entry.model_name in origins:
            raise PipelineError(
                f"{entry} is both in {origins[entry.model_name]} and in {entry.origin}; rename or uninstall one"
            )
        origins[entry.model_name] = entry.origin
        entries.append(entry)
    return tuple(entries)


def find(pipeline: str) -> Entry:
    """Find a pipeline by `<feature group>/<model_name>`; raises WrongUsage with the known ones for any other."""
    group_name, _, model_name = pipeline.partition("/")
    entries = pipelines_of(group_named(group_name))
    for entry in entries:
        if entry.model_name == model_name:
            return entry
    raise WrongUsage(f"no training pipeline is called {pipeline!r}; there are {', '.join(map(str, entries))}")


def _others() -> list[Entry]:
    return [
        _entry(point.name, point.value, point.dist.metadata["Name"] if point.dist else "an unknown distribution")
        for point in entry_points(group=ENTRY_POINTS)
    ]


def _entry(name: str, target: str, origin: str) -> Entry:
    from kepler_train.train.pipeline import check_model_name

    group_name, _, model_name = name.partition(".")
    try:
        group = group_named(group_name)
    except WrongUsage as cause:
        raise PipelineError(f"entry point {name!r} of {origin} is not <feature group>.<model_name>: {cause}") from cause
    check_model_name(f"entry point {name!r} of {origin}", model_name)
    return Entry(group, model_name, target, origin)
