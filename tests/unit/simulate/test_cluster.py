import msgspec
import numpy as np
import pytest

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import WORKLOAD_FEATURES
from kepler_train.simulate.cluster import Cluster
from kepler_train.simulate.spec import Scenario, SimulationSpec, World
from kepler_train.simulate.workloads import KINDS

SPEC = SimulationSpec(nodes=2)
CYCLES, CPU_TIME = (WORKLOAD_FEATURES.index(name) for name in ("curr_cpu_cycles", "curr_cpu_time"))
USERS_KINDS = {kind.name for kind in KINDS}


def stretch(intervals=800, later=0, node=0, **changes):
    spec = msgspec.structs.replace(SPEC, **changes)
    return Cluster(spec).nodes[node].stretch(spec.first_interval + later, intervals)


def row_kinds(of):
    return np.array([pod.kind for pod in of.pods])[of.row_pod]


def per_interval(of, values):
    return np.bincount(of.row_interval, weights=values, minlength=len(of.index))


def by_kind(of, feature=CYCLES):
    """(t, kinds) of one feature."""
    kinds = row_kinds(of)
    return np.stack([per_interval(of, of.features[:, feature] * (kinds == kind.name)) for kind in KINDS], axis=1)


@pytest.mark.parametrize("world", World)
@pytest.mark.parametrize("scenario", Scenario)
def test_pods_and_idle_add_up_to_the_node(world, scenario):
    of = stretch(300, world=world, scenario=scenario)
    assert np.all(of.truth_millijoules > 0)
    total = per_interval(of, of.truth_millijoules) + of.idle_millijoules
    np.testing.assert_allclose(total, of.true_millijoules, rtol=1e-12)


def arrays(of):
    return {name: value for name, value in vars(of).items() if isinstance(value, np.ndarray)}


def test_the_same_spec_gives_the_same_numbers():
    one, other = stretch(200), stretch(200)
    assert one.pods == other.pods
    for name, values in arrays(one).items():
        np.testing.assert_array_equal(values, arrays(other)[name])


def test_a_later_span_is_the_same_cluster_later():
    whole, later = stretch(300), stretch(200, later=100)
    rows = whole.row_interval >= 100
    np.testing.assert_array_equal(whole.features[rows], later.features)
    np.testing.assert_array_equal(whole.truth_millijoules[rows], later.truth_millijoules)
    np.testing.assert_array_equal(whole.package_millijoules[100:], later.package_millijoules)
    np.testing.assert_array_equal(whole.cpu_frequency_kilohertz[100:], later.cpu_frequency_kilohertz)
    names = [[of.pods[pod].name for pod in of.row_pod] for of in (whole, later)]
    assert [name for name, kept in zip(names[0], rows, strict=True) if kept] == names[1]


def test_another_seed_and_another_node_are_different():
    first = stretch(50)
    for other in (stretch(50, seed=2), stretch(50, node=1)):
        assert other.idle_millijoules != first.idle_millijoules
        assert not np.array_equal(other.package_millijoules, first.package_millijoules)
        assert {pod.name for pod in other.pods} & {pod.name for pod in first.pods} == {"system_processes"}


def test_measured_energy_has_five_percent_of_noise_and_no_bias():
    of = stretch(5000)
    error = of.node_energy_millijoules / of.true_millijoules - 1
    assert error.std() == pytest.approx(0.05, abs=0.005)
    assert abs(error.mean()) < 0.005


def test_late_reads_move_energy_between_neighbours():
    of = stretch(5000)
    error = of.node_energy_millijoules / of.true_millijoules - 1
    slow = np.convolve(error, np.ones(51) / 51, mode="same")
    assert np.corrcoef(error[1:] - slow[1:], error[:-1] - slow[:-1])[0, 1] < -0.1


def test_counters_are_whole_and_not_negative():
    of = stretch(300)
    assert np.all(of.features >= 0)
    assert np.array_equal(of.features, np.rint(of.features))


def test_the_system_holds_a_good_share_of_the_counters():
    of = stretch(scenario=Scenario.INDEPENDENT)
    share = of.features[row_kinds(of) == "system", CYCLES].sum() / of.features[:, CYCLES].sum()
    assert 0.15 < share < 0.5


def test_pods_of_a_node_run_at_one_frequency_in_the_shared_world_only():
    def spread(world):
        of = stretch(300, world=world, rests=False)
        busy = of.features[:, CPU_TIME] > 2000
        gigahertz = of.features[busy, CYCLES] / of.features[busy, CPU_TIME] / 1e6
        mean = np.bincount(of.row_interval[busy], gigahertz) / np.bincount(of.row_interval[busy])
        return (gigahertz / mean[of.row_interval[busy]]).std()

    assert spread(World.SHARED) < 0.02
    assert spread(World.OWN_FREQUENCY) > 0.04


def test_pods_come_and_go():
    of = stretch(2000)
    names = {kind: {pod.name for pod in of.pods if pod.kind == kind} for kind in ("compute", "service")}
    assert len(names["compute"]) > 3
    assert {name.rsplit("-", 1)[0] for name in names["service"]} == {
        "csi-node",
        "dns-default",
        "kube-proxy",
        "log-agent",
        "node-exporter",
    }
    assert {pod.name for pod in of.pods if pod.kind == "system"} == {"system_processes"}


def test_independent_workloads_do_not_move_together():
    of = stretch(2000, rests=False)
    correlation = np.corrcoef(by_kind(of), rowvar=False)
    assert np.abs(correlation - np.eye(len(KINDS))).mean() < 0.2


def test_one_curve_moves_all_workloads():
    of = stretch(2000, scenario=Scenario.ONE_CURVE, rests=False)
    running = by_kind(of)[:, [kind.name in {"database", "cache", "web"} for kind in KINDS]]
    assert np.corrcoef(running, rowvar=False).min() > 0.9


def test_one_varies_and_the_others_stay():
    of = stretch(2000, scenario=Scenario.ONE_VARIES)
    seconds = by_kind(of, CPU_TIME)
    seconds[seconds == 0] = np.nan
    variation = np.nanstd(seconds, axis=0) / np.nanmean(seconds, axis=0)
    assert variation.max() > 0.3
    # What the exporter could not resolve for a while makes the others move too, by steps.
    assert np.sort(variation)[-2] < 0.2


def test_mixes_differ_between_nodes():
    def share(node):
        seconds = by_kind(stretch(600, node=node, scenario=Scenario.MIXES), CPU_TIME).sum(axis=0)
        return seconds / seconds.sum()

    assert np.abs(share(0) - share(1)).sum() > 0.5


def test_calibration_runs_each_workload_alone():
    of = stretch(400, scenario=Scenario.CALIBRATION)
    running = by_kind(of) > 0
    assert np.all(running.sum(axis=1) <= 1)
    assert np.all(running.any(axis=0))


def test_idle_runs_no_workload():
    of = stretch(300, scenario=Scenario.IDLE)
    assert not set(row_kinds(of)) & USERS_KINDS
    assert of.true_millijoules.mean() < 1.2 * of.idle_millijoules


def test_nodes_rest_now_and_then_unless_they_never_do():
    resting, busy = stretch(1600), stretch(1600, rests=False)
    assert resting.true_millijoules.min() < 1.2 * resting.idle_millijoules
    assert 0.02 < np.mean(resting.true_millijoules < 1.2 * resting.idle_millijoules) < 0.2
    assert busy.true_millijoules.min() > 1.5 * busy.idle_millijoules


def test_a_node_twice_the_size_uses_twice_the_energy():
    one, two = stretch(600), stretch(600, node_scale=2.0)
    assert two.idle_millijoules == pytest.approx(2 * one.idle_millijoules)
    assert two.true_millijoules.mean() == pytest.approx(2 * one.true_millijoules.mean(), rel=0.05)
    assert two.cpu_frequency_kilohertz.shape[1] == 144


def test_architectures_take_turns():
    spec = msgspec.structs.replace(SPEC, architectures=("Broadwell", "Cascade Lake"), nodes=3)
    nodes = Cluster(spec).nodes
    assert [node.cpu_architecture for node in nodes] == ["Broadwell", "Cascade Lake", "Broadwell"]
    assert nodes[1].stretch(spec.first_interval, 2).cpu_frequency_kilohertz.shape == (2, 96)


def test_a_kind_that_is_left_out_never_runs():
    of = stretch(400, kinds_left_out=("vector", "cache"))
    assert set(row_kinds(of)) & USERS_KINDS == USERS_KINDS - {"vector", "cache"}


def test_magnitudes_are_those_of_the_recorded_machine():
    of = stretch(800)
    joule = of.node_energy_millijoules / 1e3
    assert 130 < joule.min() < 170
    assert 450 < joule.max() < 800
    assert 1e10 < per_interval(of, of.features[:, CYCLES]).mean() < 4e11


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kinds_left_out": ("coffee",)}, "no kind of workload is called coffee; there are compute"),
        ({"kinds_left_out": tuple(USERS_KINDS)}, "leave at least one in"),
        ({"architectures": ("Z80",)}, "no architecture 'Z80' is simulated; there are Broadwell"),
        ({"nodes": 0}, "nodes is 0"),
        ({"duration_seconds": 1.0}, "at least 3"),
        ({"node_scale": 0.0}, "positive factor"),
    ],
)
def test_what_cannot_be_simulated_is_refused(changes, words):
    with pytest.raises(WrongUsage, match=words):
        Cluster(msgspec.structs.replace(SPEC, **changes))


def test_a_start_without_a_time_zone_is_refused():
    with pytest.raises(WrongUsage, match="no time zone"):
        msgspec.structs.replace(SPEC, start=SPEC.start.replace(tzinfo=None))
