"""What the exporter reads of each pod: performance counters, BPF's cpu time, cgroup files, the kubelet."""

from __future__ import annotations

import numpy as np

from kepler_train.contract.features import WORKLOAD_FEATURES
from kepler_train.contract.window import INTERVAL_SECONDS
from kepler_train.simulate.physics import Activity
from kepler_train.simulate.randomness import Floats, Ints, Keys, normal, smooth, uniform
from kepler_train.simulate.workloads import Places, Pods

_HOUSEKEEPING_INTERVALS = 5
"""The kubelet looks at a container about every 15 seconds."""
_CGROUP_UNRESOLVED = 0.25
"""Share of pods whose cgroup folder the exporter does not find: their values stay 0."""
_PAGE = 4096


def pod_counters(places: Places, pods: Pods, activity: Activity, index: Ints) -> Floats:
    """Per-interval features of each place's pod, (t, s, 11), whole numbers in the order of WORKLOAD_FEATURES."""

    def noisy(values: Floats, purpose: str, relative: float) -> Floats:
        return values * (1.0 + relative * normal(places.keys(purpose), index))

    keys = places.keys("counters")
    cpu_seconds = noisy(activity.cpu_seconds, "cpu time", 0.01)
    resolved = uniform(keys, pods.generation) >= _CGROUP_UNRESOLVED
    resolved[:, 0] = False
    # Files are read some tens of milliseconds before or after the counters.
    cgroup = noisy(activity.cpu_seconds, "cgroup", 0.03) * 1e6 * resolved
    working_set = places.each("memory_megabytes") * 2**20 * np.exp(0.2 * smooth(keys, index, 200.0))
    growth = np.maximum(np.diff(working_set, axis=0, prepend=working_set[:1]), 0.0)
    writes = places.each("bytes_written_per_second") * INTERVAL_SECONDS * np.minimum(activity.cpu_seconds, 3.0)
    columns = {
        "curr_cache_miss": noisy(activity.misses, "misses", 0.02),
        "curr_cpu_cycles": noisy(activity.cycles, "cycles", 0.01),
        "curr_cpu_instr": noisy(activity.instructions, "instructions", 0.01),
        "curr_cgroupfs_cpu_usage_us": cgroup,
        "curr_cgroupfs_memory_usage_bytes": _pages(growth * resolved),
        "curr_cgroupfs_system_cpu_usage_us": cgroup * (0.02 + places.each("kernel_share")),
        # The exporter reports the total here too.
        "curr_cgroupfs_user_cpu_usage_us": cgroup,
        "curr_bytes_read": np.zeros_like(cpu_seconds),
        "curr_bytes_writes": _pages(writes * -np.log1p(-uniform(~keys, index))),
        "curr_cpu_time": cpu_seconds * 1e3,
        **_kubelet(activity.cpu_seconds, growth, keys, index),
    }
    present = pods.present
    return np.stack([np.rint(np.maximum(columns[name], 0.0)) * present for name in WORKLOAD_FEATURES], axis=-1)


def _kubelet(cpu_seconds: Floats, growth: Floats, keys: Keys, index: Ints) -> dict[str, Floats]:
    """Whole seconds and bytes since the last look, in the interval of the look; nothing in between."""
    looked = (index[:, None] + (keys % np.uint64(_HOUSEKEEPING_INTERVALS)).astype(np.int64)) % _HOUSEKEEPING_INTERVALS
    looks = looked == 0
    seconds = _over_last(cpu_seconds, _HOUSEKEEPING_INTERVALS)
    return {
        "container_cpu_usage_seconds_total": np.floor(seconds + uniform(~keys, index)) * looks,
        "container_memory_working_set_bytes": _pages(_over_last(growth, _HOUSEKEEPING_INTERVALS)) * looks,
    }


def _over_last(values: Floats, intervals: int) -> Floats:
    total = values.copy()
    for ago in range(1, intervals):
        total[ago:] += values[:-ago]
    return total


def _pages(values: Floats) -> Floats:
    return np.floor(values / _PAGE) * _PAGE
