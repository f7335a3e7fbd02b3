"""Patterns of load: how many threads each pod wants to run at any time, in the scenarios of `Scenario`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kepler_train.simulate.randomness import Floats, Ints, keys_of, normal, smooth, stretches, uniform
from kepler_train.simulate.spec import Scenario, SimulationSpec
from kepler_train.simulate.workloads import Places, Pods

_REST_EVERY, _REST_AFTER, _REST_INTERVALS = 400.0, 60.0, 30.0
"""Of a node's workloads, in intervals: they rest together about every 20 minutes, for a minute and a half."""

CALIBRATION_INTERVALS = 30
"""How long each workload runs alone."""


def demand(spec: SimulationSpec, places: Places, pods: Pods, index: Ints) -> tuple[Floats, Floats]:
    """Threads that each place's pod wants to run, and the duty of the cores it uses, (t, s) each."""
    level = np.concatenate(
        [
            np.zeros((len(index), 1)),
            _service_loads(places, index),
            _workload_loads(spec, places, index),
        ],
        axis=1,
    )
    level *= pods.present
    threads = level * places.threads
    job = places.each("job") > 0
    # A service that has less to do also spreads over fewer cores.
    duty = np.where(job, 0.97, 0.45 + 0.5 * level)
    threads[:, 0] = _system_threads(spec, places, threads, index)
    duty[:, 0] = 0.5
    return threads, duty


def _system_threads(spec: SimulationSpec, places: Places, threads: Floats, index: Ints) -> Floats:
    """Kernel work for the pods, and daemons that are never quite still."""
    keys = keys_of(1, places.seed, places.node, "daemons")
    daemons = 0.4 * spec.node_scale * np.exp(0.5 * smooth(keys, index, 10.0) + 0.3 * normal(~keys, index))
    on_behalf: Floats = (threads * places.each("kernel_share")).sum(axis=1)
    return on_behalf + daemons[:, 0]


def _service_loads(places: Places, index: Ints) -> Floats:
    keys = keys_of(places.services, places.seed, places.node, "services")
    loads: Floats = 0.4 * np.exp(0.4 * smooth(keys, index, 30.0) + 0.3 * normal(~keys, index))
    return np.clip(loads, 0.02, 3.0)


def _workload_loads(spec: SimulationSpec, places: Places, index: Ints) -> Floats:
    count = len(places.kinds) - places.workloads.start
    if spec.scenario is Scenario.IDLE:
        return np.zeros((len(index), count))
    if spec.scenario is Scenario.CALIBRATION:
        return _one_at_a_time(places, count, index)
    if spec.scenario is Scenario.ONE_VARIES:
        return _one_varies(places, count, index)
    jobs = np.array([kind.job for kind in places.kinds[places.workloads]])
    loads = _own_loads(places, jobs, index)
    if spec.scenario is not Scenario.INDEPENDENT:
        apart = 0.3 if spec.scenario is Scenario.MIXES else 0.03
        wander = np.exp(apart * smooth(keys_of(count, places.seed, places.node, "apart"), index, 40.0))
        loads = _curve(places, index) * wander
    loads = np.clip(loads, 0.0 if spec.rests else 0.2, 1.0)
    return loads * ~_resting(places, index) if spec.rests else loads


def _own_loads(places: Places, jobs: npt.NDArray[np.bool_], index: Ints) -> Floats:
    """Services wander with their users; jobs start with so many threads, keep them for minutes, and stop."""
    keys = keys_of(len(jobs), places.seed, places.node, "loads")
    busy = 0.5 + 0.24 * smooth(keys, index, 80.0) + 0.12 * smooth(~keys, index, 12.0) + 0.04 * normal(keys, index)
    number, _ = stretches(keys, index, 45.0)
    drawn = uniform(~keys, number)
    steps = np.where(drawn < 0.25, 0.0, 0.25 + drawn - 0.25) * (1.0 + 0.03 * normal(keys, index))
    loads: Floats = np.where(jobs, steps, np.maximum(busy, 0.03))
    return loads


def _curve(places: Places, index: Ints) -> Floats:
    """One load curve for a whole node: waves, steps and flutter."""
    keys = keys_of(3, places.seed, places.node, "curve")
    number, _ = stretches(keys[:1], index, 50.0)
    steps = uniform(keys[:1], number) - 0.5
    waves = 0.22 * smooth(keys[1:2], index, 100.0) + 0.05 * smooth(keys[2:], index, 8.0)
    return np.maximum(0.55 + 0.5 * steps + waves, 0.25)


def _one_varies(places: Places, count: int, index: Ints) -> Floats:
    """The same kind varies on all nodes; all others keep a level, give or take a hundredth."""
    keys = keys_of(count, places.seed, places.node, "constant")
    levels = 0.2 + 0.5 * uniform(keys, np.zeros(1, dtype=np.int64))
    loads = levels * (1.0 + 0.01 * smooth(keys, index, 20.0))
    varies = places.seed % count
    loads[:, varies] = np.clip(_curve(places, index)[:, 0] * 1.2 - 0.1, 0.0, 1.0)
    return loads


def _one_at_a_time(places: Places, count: int, index: Ints) -> Floats:
    """Each workload in turn, at three levels of load."""
    turn, into = np.divmod(index, CALIBRATION_INTERVALS)
    level = np.array([0.3, 0.65, 1.0])[into * 3 // CALIBRATION_INTERVALS]
    flutter = 1.0 + 0.03 * normal(keys_of(count, places.seed, places.node, "calibration"), index)
    alone = turn[:, None] % count == np.arange(count)
    loads: Floats = alone * np.clip(level[:, None] * flutter, 0.0, 1.0)
    return loads


def _resting(places: Places, index: Ints) -> npt.NDArray[np.bool_]:
    _, into = stretches(keys_of(1, places.seed, places.node, "rests"), index, _REST_EVERY)
    resting: npt.NDArray[np.bool_] = (into >= _REST_AFTER) & (into < _REST_AFTER + _REST_INTERVALS)
    return resting
