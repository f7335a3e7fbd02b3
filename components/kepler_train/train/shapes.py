"""Which functions of which features the shipped pipelines of each group fit.

Counters and CPU time say what a pod's cores do, and their ratios how (instructions per cycle, misses per instruction,
the frequency): power is concave in them, since the first core that works wakes what all share. Memory, I/O and cgroup
counts add nothing to them but room to hand idle energy to pods that merely exist. Groups without counters get convex
functions too: CPU time as some exporters count it contains time in which a core waited.

What a pod counts beyond the usual for its CPU time costs energy, and time at a low frequency costs its own. That a pod
retires few instructions or misses seldom costs nothing, it only tells which of the workloads seen the pod is: functions
of that give far too much to one that was not seen and stalls more than any. With CPU time, kinds of workloads are told
apart well enough to learn what each costs; with counters alone, that goes wrong for those that were not seen.

What pods share on a node saturates: cores and what serves them in the cycles of all pods, memory in their misses. That
threads get less done where they share a core is weaker, and easily taken for either: instructions are more reluctant.
"""

from __future__ import annotations

from itertools import combinations

from kepler_train.contract.features import (
    BPF_FEATURES,
    CGROUP_FEATURES,
    COUNTER_FEATURES,
    IO_FEATURES,
    KUBELET_FEATURES,
    FeatureGroup,
)
from kepler_train.train.additive.basis import Shape

_CORES = COUNTER_FEATURES + BPF_FEATURES


def _any_curve(features: tuple[str, ...]) -> Shape:
    return Shape(
        linear=features, concave=features, convex=features, shared=tuple((feature, 1.0) for feature in features)
    )


_SHARED = (("curr_cpu_cycles", 1.0), ("curr_cache_miss", 1.0), ("curr_cpu_instr", 3.0))
_WORKLOAD = Shape(
    linear=_CORES,
    concave=_CORES,
    ratios=tuple(combinations(_CORES, 2)),
    excesses=(
        *((counter, time) for counter in COUNTER_FEATURES for time in BPF_FEATURES),
        ("curr_cpu_time", "curr_cpu_cycles"),
    ),
    shared=_SHARED,
    kinds=True,
)

SHAPES = {
    FeatureGroup.FULL: _WORKLOAD,
    FeatureGroup.WORKLOAD_ONLY: _WORKLOAD,
    FeatureGroup.COUNTER_ONLY: Shape(
        linear=COUNTER_FEATURES,
        concave=COUNTER_FEATURES,
        ratios=tuple(combinations(COUNTER_FEATURES, 2)),
        shared=_SHARED,
    ),
    FeatureGroup.CGROUP_ONLY: _any_curve(CGROUP_FEATURES + IO_FEATURES),
    FeatureGroup.BPF_ONLY: _any_curve(BPF_FEATURES),
    FeatureGroup.KUBELET_ONLY: _any_curve(KUBELET_FEATURES),
}
