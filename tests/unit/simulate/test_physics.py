"""Facts of physics that hold whatever the constants are."""

import numpy as np
import pytest

from kepler_train.contract.window import INTERVAL_SECONDS
from kepler_train.simulate.physics import ARCHITECTURES, Activity, Work, run, voltage

BROADWELL = ARCHITECTURES["Broadwell"]
CORES = 36.0
INTERVALS = 60


def work(threads, cycles_per_instruction=0.6, misses_per_kilo_instruction=2.0, duty=0.9):
    """Pods that do the same in every interval: one number per pod."""

    def every(value):
        return np.broadcast_to(np.asarray(value, dtype=float), (INTERVALS, len(threads))).copy()

    return Work(
        threads=every(threads),
        cycles_per_instruction=every(cycles_per_instruction),
        instruction_energy=every(0.5),
        misses_per_instruction=every(misses_per_kilo_instruction) * 1e-3,
        miss_overlap=every(3.0),
        siblings=every(1.0),
        duty=every(duty),
    )


def settled(what, wander=1.0, own=False) -> Activity:
    """The last interval of a run, when the silicon is as warm as it gets."""
    return run(BROADWELL, CORES, what, own, np.full((INTERVALS, 1), wander))


def energy(activity):
    return (activity.core_energy + activity.dram_energy)[-1]


def test_a_node_on_which_nothing_runs_uses_no_more_than_its_idle_energy():
    activity = settled(work([0.0, 0.0]))
    assert energy(activity).tolist() == [0.0, 0.0]
    assert activity.cycles.sum() == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_more_load_takes_more_energy_until_the_node_is_full(architecture):
    cores = ARCHITECTURES[architecture].cores
    energies = [
        energy(run(ARCHITECTURES[architecture], cores, work([threads]), False, np.ones((INTERVALS, 1)))).sum()
        for threads in np.linspace(0, 2 * cores, 30)
    ]
    assert np.all(np.diff(energies) > 0)


def test_the_first_thread_costs_more_than_the_last():
    """The uncore wakes up once; the second thread of a core shares its clock and leakage."""
    first, second = energy(settled(work([2.0]))).sum(), energy(settled(work([4.0]))).sum()
    nearly, full = energy(settled(work([66.0]))).sum(), energy(settled(work([68.0]))).sum()
    assert second - first > 2 * (full - nearly)


def test_no_node_runs_more_than_its_cores_allow():
    seconds = settled(work([100.0, 50.0])).cpu_seconds[-1]
    assert seconds.sum() <= 2 * CORES * INTERVAL_SECONDS
    assert seconds[0] == pytest.approx(2 * seconds[1])


def test_voltage_rises_with_frequency():
    assert np.all(np.diff(voltage(np.linspace(1.2, 3.9, 20))) > 0)


def test_power_rises_faster_than_frequency():
    slow, fast = settled(work([60.0]), wander=0.9), settled(work([60.0]), wander=1.1)
    assert (fast.frequency / slow.frequency)[-1] == pytest.approx(1.1 / 0.9)
    assert (fast.core_energy / slow.core_energy)[-1] > (1.1 / 0.9) ** 1.3


def test_waiting_for_memory_gains_nothing_from_frequency():
    def gain(misses):
        slow, fast = (settled(work([8.0], misses_per_kilo_instruction=misses), wander=w) for w in (0.9, 1.1))
        return (fast.instructions / slow.instructions)[-1, 0]

    assert gain(0.0) == pytest.approx(1.1 / 0.9, rel=0.01)
    assert gain(20.0) < 1.1


def test_misses_take_memory_energy():
    few, many = (settled(work([8.0], misses_per_kilo_instruction=misses)) for misses in (1.0, 10.0))
    assert many.misses[-1] > few.misses[-1]
    assert many.dram_energy[-1] > 1.5 * few.dram_energy[-1]
    assert (many.instructions / many.cycles)[-1] < (few.instructions / few.cycles)[-1]


def test_the_second_thread_of_a_core_costs_less_and_does_less():
    alone, shared = settled(work([0.5 * CORES])), settled(work([2 * CORES]))
    per_second = [(a.core_energy / a.cpu_seconds)[-1, 0] for a in (alone, shared)]
    per_cycle = [(a.instructions / a.cycles)[-1, 0] for a in (alone, shared)]
    assert per_second[1] < 0.75 * per_second[0]
    assert 0.5 < per_cycle[1] / per_cycle[0] < 0.75


def test_a_neighbour_changes_what_the_same_work_costs():
    """Why a node's energy cannot be split by counters alone."""
    alone = settled(work([4.0, 0.0]))
    beside = settled(work([4.0, 50.0]))
    ratio = energy(beside)[0] / energy(alone)[0]
    assert ratio != pytest.approx(1.0, abs=0.05)


def test_warm_silicon_leaks_more():
    activity = settled(work([60.0]))
    assert activity.core_energy[-1, 0] > activity.core_energy[0, 0]
    assert np.all(np.diff(activity.core_energy[:, 0]) >= -1e-6)


def test_frequency_is_shared_or_a_pods_own():
    both = work([4.0, 4.0], duty=[0.95, 0.3])
    shared, own = settled(both), settled(both, own=True)
    hertz = [(a.cycles / a.cpu_seconds)[-1] for a in (shared, own)]
    assert hertz[0][0] == pytest.approx(hertz[0][1])
    assert hertz[1][0] > 1.1 * hertz[1][1]
