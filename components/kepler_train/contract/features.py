"""The features a pod is described by, and the six feature groups; a group is found from features, never declared.

Source of names and groups: the exporter and estimator of autumn 2022 (Kepler v0.2–v0.3, kepler-estimator d351cbf).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from kepler_train.contract.errors import WrongUsage

COUNTER_FEATURES = ("curr_cache_miss", "curr_cpu_cycles", "curr_cpu_instr")
CGROUP_FEATURES = (
    "curr_cgroupfs_cpu_usage_us",
    "curr_cgroupfs_memory_usage_bytes",
    "curr_cgroupfs_system_cpu_usage_us",
    "curr_cgroupfs_user_cpu_usage_us",
)
IO_FEATURES = ("curr_bytes_read", "curr_bytes_writes")
BPF_FEATURES = ("curr_cpu_time",)
KUBELET_FEATURES = ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes")
SYSTEM_FEATURES = ("cpu_architecture",)

WORKLOAD_FEATURES = COUNTER_FEATURES + CGROUP_FEATURES + IO_FEATURES + BPF_FEATURES + KUBELET_FEATURES
"""Every numeric feature of a pod, in the order in which tables and models hold them."""

ARCHITECTURE = "cpu_architecture"
"""The one category among the features; it belongs to the node and is joined to each of its pod rows."""


class FeatureGroup(str, Enum):
    """One of the six sets of features; the value is the name people and stores use."""

    FULL = "Full"
    WORKLOAD_ONLY = "WorkloadOnly"
    COUNTER_ONLY = "CounterOnly"
    CGROUP_ONLY = "CgroupOnly"
    BPF_ONLY = "BPFOnly"
    KUBELET_ONLY = "KubeletOnly"

    @property
    def features(self) -> tuple[str, ...]:
        """The group's features in the canonical order."""
        return _FEATURES[self]


_FEATURES = {
    FeatureGroup.FULL: WORKLOAD_FEATURES + SYSTEM_FEATURES,
    FeatureGroup.WORKLOAD_ONLY: WORKLOAD_FEATURES,
    FeatureGroup.COUNTER_ONLY: COUNTER_FEATURES,
    FeatureGroup.CGROUP_ONLY: CGROUP_FEATURES + IO_FEATURES,
    FeatureGroup.BPF_ONLY: BPF_FEATURES,
    FeatureGroup.KUBELET_ONLY: KUBELET_FEATURES,
}


def group_of(features: Iterable[str]) -> FeatureGroup:
    """Find the feature group of a set of features, whatever their order.

    Raises WrongUsage, with the six groups listed, for a set that is none of them or that repeats a feature.
    """
    names = list(features)
    for group, members in _FEATURES.items():
        if len(names) == len(members) and set(names) == set(members):
            return group
    listed = "\n".join(f"  {group.value}: {', '.join(members)}" for group, members in _FEATURES.items())
    raise WrongUsage(f"features {names} are none of the six feature groups; use exactly one of\n{listed}")


def group_named(name: str) -> FeatureGroup:
    """Find a group by its name; raises WrongUsage with the six names for any other."""
    try:
        return FeatureGroup(name)
    except ValueError as cause:
        names = ", ".join(group.value for group in FeatureGroup)
        raise WrongUsage(f"no feature group is called {name!r}; there are {names}") from cause


def exporter_label(feature: str) -> str:
    """Name the label of `pod_energy_stat` that carries a numeric feature (kubelet's get `curr_` in front)."""
    return feature if feature.startswith("curr_") else f"curr_{feature}"
