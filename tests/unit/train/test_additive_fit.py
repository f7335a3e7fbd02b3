from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from kepler_train.contract.features import COUNTER_FEATURES, FeatureGroup
from kepler_train.train import synthetic
from kepler_train.train.additive import least_squares, sample
from kepler_train.train.additive.basis import Shape, basis_of
from kepler_train.train.additive.even_sample import EvenSample
from kepler_train.train.additive.fit import IDLE_STRENGTH, fit_additive
from kepler_train.train.additive.huber import huber
from kepler_train.train.additive.kinds import with_kinds
from kepler_train.train.additive.moments import Prior
from kepler_train.train.additive.nnls import nnls
from kepler_train.train.additive.node_model import CURVE_KNOTS, Curve, NodeModel, fit_node_model
from kepler_train.train.additive.sample import take_sample
from kepler_train.train.shapes import SHAPES
from tests.unit.train.conftest import batches_of

COUNTERS = SHAPES[FeatureGroup.COUNTER_ONLY]
WORKLOAD = FeatureGroup.WORKLOAD_ONLY.features


def fit(batches, features=COUNTER_FEATURES, shape=COUNTERS, **options):
    return fit_additive(lambda: iter(batches), features, shape, **options)


def error_per_pod(network, nodes, features=COUNTER_FEATURES):
    """Energy-weighted, over all pod rows."""
    rows = np.concatenate([batch.pods for batch in batches_of(nodes, features)])
    truth = np.concatenate([node.power_millijoules for node in nodes])
    return np.abs(network(rows) - truth).sum() / truth.sum()


@pytest.mark.parametrize("shape", [Shape(linear=COUNTER_FEATURES), COUNTERS], ids=["linear", "concave"])
def test_known_power_per_pod_and_idle_are_found_from_sums(nodes, shape):
    found = fit(batches_of(nodes, COUNTER_FEATURES), shape=shape)
    strangers = synthetic.cluster(nodes=1, intervals=100, seed=77)
    assert error_per_pod(found.pooled, strangers) < 0.055
    for node in nodes:
        assert found.idle_millijoules[node.name] == pytest.approx(node.idle_millijoules, rel=0.03)


def test_workload_features_find_known_power_too(nodes):
    found = fit(batches_of(nodes, WORKLOAD), WORKLOAD, SHAPES[FeatureGroup.WORKLOAD_ONLY])
    assert error_per_pod(found.pooled, nodes, WORKLOAD) < 0.04


def test_a_pod_that_does_nothing_gets_nothing_and_none_gets_less(nodes):
    found = fit(batches_of(nodes, COUNTER_FEATURES)).pooled
    assert found(np.zeros((1, 3))).tolist() == [0.0]
    random = np.random.default_rng(1)
    far = np.exp(random.uniform(0, 40, (1000, 3))) * random.integers(0, 2, (1000, 3))
    powers = found(far)
    assert np.isfinite(powers).all()
    assert (powers >= 0).all()


def test_power_grows_with_every_counter_and_not_faster_than_before_beyond_what_was_seen(nodes):
    found = fit(batches_of(nodes, COUNTER_FEATURES)).pooled
    pod = nodes[0].pods[:1, :3]
    assert (np.diff(found(pod * np.linspace(0, 10, 50)[:, None])) >= -1e-6).all()
    assert found(pod * 4)[0] <= 4 * found(pod)[0] * (1 + 1e-9)
    for feature in range(3):
        more = np.repeat(pod, 50, axis=0)
        more[:, feature] *= np.linspace(0, 10, 50)
        assert (np.diff(found(more)) >= -1e-6).all()


def test_the_fit_does_not_depend_on_how_batches_are_cut(nodes):
    whole = fit(batches_of(nodes, COUNTER_FEATURES, 1000))
    pieces = fit(batches_of(nodes, COUNTER_FEATURES, 7))
    rows = nodes[0].pods[:500, :3]
    assert pieces.pooled(rows) == pytest.approx(whole.pooled(rows), rel=1e-6)
    assert pieces.idle_millijoules == pytest.approx(whole.idle_millijoules, rel=1e-9)


def test_a_long_window_is_known_from_a_sample_of_its_intervals(nodes, monkeypatch):
    monkeypatch.setattr(sample, "SAMPLED_INTERVALS", 200)
    batches = batches_of(nodes, COUNTER_FEATURES, 30)
    taken = take_sample(batches, ["node1", "node2"], lambda pods: pods.T, 800)
    assert len(taken.intervals.node) == pytest.approx(200, abs=3)
    assert np.bincount(taken.intervals.node).min() > 90
    assert error_per_pod(fit(batches).pooled, nodes) < 0.07


def test_the_sums_that_are_kept_are_those_of_the_functions(nodes, monkeypatch):
    monkeypatch.setattr(sample, "CHUNK_POD_ROWS", 50)
    batches = batches_of(nodes, COUNTER_FEATURES, 30)
    basis = basis_of(COUNTERS, COUNTER_FEATURES, batches[0].pods)
    taken = take_sample(batches, ["node1", "node2"], basis.units, sum(map(len, batches)))
    direct = [batch.sum_over_pods(basis.units(batch.pods).T) for batch in batches]
    assert taken.intervals.sums == pytest.approx(np.concatenate(direct), rel=1e-9, abs=1e-9)
    assert taken.pods_per_interval == sum(len(batch.pods) for batch in batches) / sum(map(len, batches))


def test_intervals_without_pods_count_as_idle_ones(nodes):
    batch = batches_of(nodes[:1], COUNTER_FEATURES, 400)[0]
    gone = np.zeros(len(batch), dtype=bool)
    gone[[0, 7, 8, -1]] = True
    rows = ~np.repeat(gone, np.diff(batch.starts))
    lengths = np.where(gone, 0, np.diff(batch.starts))
    holey = type(batch)(
        **{
            **vars(batch),
            "pods": batch.pods[rows],
            "starts": np.concatenate([[0], np.cumsum(lengths)]),
            "energy_millijoules": np.where(gone, nodes[0].idle_millijoules, batch.energy_millijoules),
        }
    )
    found = fit([holey])
    assert error_per_pod(found.pooled, nodes) < 0.05
    assert found.idle_millijoules["node1"] == pytest.approx(nodes[0].idle_millijoules, rel=0.03)


def test_features_without_signal_and_constant_ones_change_nothing(nodes):
    batches = [
        type(batch)(**{**vars(batch), "pods": batch.pods * np.array([0.0, 1.0, 1.0]) + np.array([0.0, 0.0, 0.0])})
        for batch in batches_of(nodes, COUNTER_FEATURES)
    ]
    found = fit(batches)
    assert np.isfinite(found.pooled(nodes[0].pods[:10, :3])).all()
    assert "without use: curr_cache_miss" in found.notes


def test_a_window_of_a_few_intervals_can_be_fitted(nodes):
    node = synthetic.cluster(nodes=1, intervals=5)
    found = fit(batches_of(node, COUNTER_FEATURES))
    assert np.isfinite(found.pooled(node[0].pods[:, :3])).all()
    assert 0 <= found.idle_millijoules["node1"] <= node[0].energy_millijoules.max()


def test_pods_that_never_do_anything_get_nothing(nodes):
    batches = [
        type(batch)(**{**vars(batch), "pods": batch.pods * 0.0}) for batch in batches_of(nodes, COUNTER_FEATURES)
    ]
    found = fit(batches)
    assert found.pooled(nodes[0].pods[:5, :3]).tolist() == [0.0] * 5


def test_pods_that_never_do_anything_have_no_kinds_either(nodes):
    batches = [replace(batch, pods=batch.pods * 0.0) for batch in batches_of(nodes, WORKLOAD)]
    found = fit(batches, WORKLOAD, SHAPES[FeatureGroup.WORKLOAD_ONLY])
    assert found.pooled(nodes[0].pods[:5]).tolist() == [0.0] * 5


def test_a_few_wild_measurements_do_little_harm(nodes):
    wild = np.where(np.arange(400) % 25 == 0, 3.0, 1.0)
    batches = [
        type(batch)(**{**vars(batch), "energy_millijoules": batch.energy_millijoules * wild})
        for batch in batches_of(nodes, COUNTER_FEATURES, 400)
    ]
    assert error_per_pod(fit(batches).pooled, nodes) < 0.05


def test_the_energy_of_a_window_is_right_in_total(nodes):
    noise = np.random.default_rng(3)
    batches = [
        replace(batch, energy_millijoules=batch.energy_millijoules * noise.normal(1, 0.1, len(batch)))
        for batch in batches_of(nodes, COUNTER_FEATURES)
    ]
    found = fit(batches)
    fitted = sum(found.pooled(batch.pods).sum() + len(batch) * found.idle_millijoules[batch.node] for batch in batches)
    assert fitted == pytest.approx(sum(batch.energy_millijoules.sum() for batch in batches), rel=0.005)


def test_a_node_model_that_explains_less_than_functions_of_a_pod_decides_nothing(nodes):
    """Power that rises ever faster, as with a CPU time that contains waiting: no curve of a node model bends so."""
    [batch] = batches_of(nodes[:1], ("curr_cpu_time",), 400)
    time = np.random.default_rng(4).uniform(0.0, 1.0, 400)
    one_pod = replace(batch, pods=time[:, None], starts=np.arange(401), energy_millijoules=150e3 + 500e3 * time**4)
    found = fit([one_pod], ("curr_cpu_time",), SHAPES[FeatureGroup.BPF_ONLY])
    assert "split strength 0.01" in found.notes
    assert found.idle_millijoules["node1"] == pytest.approx(150e3, rel=0.06)
    assert found.pooled(np.ones((1, 1))) == pytest.approx([500e3], rel=0.1)


def test_nodes_of_different_architectures_get_functions_of_their_own():
    mixed = synthetic.cluster(nodes=4, intervals=300, architectures=tuple(synthetic.ARCHITECTURE_FACTORS))
    found = fit(batches_of(mixed, COUNTER_FEATURES), by_architecture=True)
    for node in mixed:
        assert error_per_pod(found.by_architecture[node.cpu_architecture], [node]) < 0.04
    assert error_per_pod(found.pooled, mixed) > 0.1


def test_an_architecture_too_rare_to_be_sampled_gets_the_function_of_all(monkeypatch):
    monkeypatch.setattr(sample, "SAMPLED_INTERVALS", 100)
    [many] = synthetic.cluster(nodes=1, intervals=998)
    one = replace(synthetic.cluster(nodes=1, intervals=1)[0], name="rare", cpu_architecture="Rare")
    found = fit(batches_of([many, one], COUNTER_FEATURES), by_architecture=True)
    assert set(found.by_architecture) == {many.cpu_architecture}
    assert set(found.idle_millijoules) == {many.name, "rare"}


def test_with_six_nodes_whole_nodes_are_left_out_to_choose_by():
    many = synthetic.cluster(nodes=7, intervals=100)
    found = fit(batches_of(many, COUNTER_FEATURES))
    assert error_per_pod(found.pooled, many) < 0.03
    assert set(found.idle_millijoules) == {node.name for node in many}


@pytest.mark.parametrize("features", list(combinations(range(3), 2)))
def test_every_function_is_zero_at_rest_and_never_negative(nodes, features):
    sample = nodes[0].pods[:500, :3]
    shape = SHAPES[FeatureGroup.WORKLOAD_ONLY]
    names = (*WORKLOAD[:3], "curr_cpu_time")
    sample = np.column_stack([sample, nodes[0].pods[:500, WORKLOAD.index("curr_cpu_time")]])
    basis = basis_of(shape, names, sample)
    scaled = np.random.default_rng(2).uniform(0, 2, (300, 4))
    scaled[:, features] = 0.0
    values = basis.units(scaled * basis.scale).T @ basis.columns
    assert values.min() > -1e-9
    assert basis.units(np.zeros((1, 4))).sum() == 0.0


def test_a_bend_with_the_nodes_load_is_not_blamed_on_large_pods(monkeypatch):
    """Turbo takes from all pods alike, by what the node does: here by the fourth root of its total."""
    straight = synthetic.cluster(nodes=1, intervals=800, pods=8)
    bent = []
    for node in straight:
        power = node.power_millijoules.reshape(800, 8)
        total = power.sum(axis=1, keepdims=True)
        power = power * (total.mean() / np.maximum(total, 1.0)) ** 0.25
        energy = (power.sum(axis=1) + node.idle_millijoules) * np.random.default_rng(8).normal(1, 0.05, 800)
        bent.append(replace(node, power_millijoules=power.reshape(-1), energy_millijoules=energy))
    busy = np.repeat(bent[0].power_millijoules.reshape(800, 8).sum(axis=1) > 30_000, 8)

    def error(found):
        powers = found.pooled(bent[0].pods[busy, :3])
        return np.abs(powers - bent[0].power_millijoules[busy]).sum() / bent[0].power_millijoules[busy].sum()

    split = error(fit(batches_of(bent, COUNTER_FEATURES)))
    monkeypatch.setattr(least_squares, "SPLIT_STRENGTHS", (0.0,))
    by_the_sum_alone = error(fit(batches_of(bent, COUNTER_FEATURES)))
    assert split < 0.75 * by_the_sum_alone


def test_a_node_model_knows_the_nodes_load(nodes):
    batches = batches_of(nodes, COUNTER_FEATURES)
    basis = basis_of(COUNTERS, COUNTER_FEATURES, batches[0].pods)
    rows = take_sample(batches, ["node1", "node2"], basis.units, sum(map(len, batches))).intervals
    idle = np.array([node.idle_millijoules for node in nodes])
    mean = float(rows.energy_millijoules.mean())
    around = Prior(1.1 * idle, np.full(2, IDLE_STRENGTH / mean**2), 1.2 * idle, mean)
    fold = np.arange(len(rows.node)) // 20 % 5
    model = fit_node_model(rows, basis, around, fold, 5)
    assert np.abs(model.errors(rows)).mean() < 0.015
    assert np.mean(model.errors(rows) ** 2) < model.held_out_loss < 1.3 * np.mean(model.errors(rows) ** 2)
    assert huber(model.errors(rows)).min() > 0.2
    assert model.idle_millijoules == pytest.approx(idle, rel=0.05)
    curve = model.curves[0]
    total = np.linspace(0.0, 2.0, 50) * curve.scale
    assert curve.energy(total)[0] == 0.0
    assert (np.diff(curve.energy(total)) >= 0).all()


def test_what_a_kind_of_pod_costs_is_learnt_beyond_the_functions_of_a_node_model(nodes):
    """Pods of three kinds, told apart by their instructions per cycle: those in the middle cost most."""
    random = np.random.default_rng(6)
    cycles = random.uniform(0.1, 1.0, (800, 6)) * 1e9
    pace, price = np.array([0.4, 1.0, 1.6, 0.5, 1.1, 1.5]), np.array([40e3, 70e3, 40e3, 40e3, 70e3, 40e3]) / 1e9
    counts = np.stack([cycles * 1e-3, cycles, cycles * pace], axis=-1).reshape(-1, 3)
    truth = cycles * price
    [batch] = batches_of(nodes[:1], COUNTER_FEATURES, 400)
    batch = replace(
        batch,
        pods=counts,
        starts=np.arange(801) * 6,
        energy_millijoules=(150e3 + truth.sum(axis=1)) * random.normal(1, 0.02, 800),
        timestamp_milliseconds=np.arange(800) * 3000,
        block_start_seconds=np.arange(800) // 20 * 60,
    )
    basis = basis_of(replace(COUNTERS, kinds=True), COUNTER_FEATURES, batch.pods)
    taken = take_sample([batch], [batch.node], basis.units, 800)
    mean = float(batch.energy_millijoules.mean())
    around = Prior(np.array([150e3]), np.full(1, IDLE_STRENGTH / mean**2), np.array([155e3]), mean)
    model = fit_node_model(taken.intervals, basis, around, np.arange(800) // 20 % 5, 5)
    units, interval = basis.units(batch.pods), np.repeat(np.arange(800), 6)

    def error(model):
        return np.abs(model.parts(units, taken.intervals.sums, interval) - truth.reshape(-1)).sum() / truth.sum()

    corrected = with_kinds(model, taken, basis)
    assert error(corrected) < 0.85 * error(model)
    assert np.mean(corrected.errors(taken.intervals) ** 2) < np.mean(model.errors(taken.intervals) ** 2)


def test_no_part_of_a_nodes_energy_is_negative(nodes):
    [batch] = batches_of(nodes[:1], COUNTER_FEATURES, 400)
    basis = basis_of(COUNTERS, COUNTER_FEATURES, batch.pods)
    rows = take_sample([batch], ["node1"], basis.units, len(batch)).intervals
    model = NodeModel(np.full(len(basis.offsets), -1000.0), (), np.zeros(1), 0.0)
    parts = model.parts(basis.units(batch.pods), rows.sums, np.repeat(np.arange(len(batch)), np.diff(batch.starts)))
    assert (parts == 0).all()


def test_an_excess_is_of_its_first_feature_only():
    sample = np.random.default_rng(7).uniform(0.5, 1.0, (500, 2))
    one_way = basis_of(Shape(linear=("a", "b"), ratios=(("a", "b"),), excesses=(("a", "b"),)), ("a", "b"), sample)
    other = basis_of(Shape(linear=("a", "b"), ratios=(("a", "b"),), excesses=(("b", "a"),)), ("a", "b"), sample)
    much_of_a = np.array([[9.0, 1.0]])
    assert (one_way.units(much_of_a).T @ one_way.columns)[0, 3::2].min() > 0
    assert (other.units(much_of_a).T @ other.columns)[0, 3::2].max() == 0
    assert one_way.columns.shape == other.columns.shape == (7, 12)


def test_the_parts_of_a_nodes_pods_add_up_to_the_node(nodes):
    [batch] = batches_of(nodes[:1], COUNTER_FEATURES, 400)
    basis = basis_of(COUNTERS, COUNTER_FEATURES, batch.pods)
    rows = take_sample([batch], ["node1"], basis.units, len(batch)).intervals
    heights = np.arange(len(CURVE_KNOTS), dtype=float)
    curve = Curve(unit=1, scale=float(rows.sums[:, 1].max()), heights=heights)
    model = NodeModel(np.full(len(basis.offsets), 1000.0), (curve,), np.zeros(1), 0.0)
    parts = model.parts(basis.units(batch.pods), rows.sums, np.repeat(np.arange(len(batch)), np.diff(batch.starts)))
    assert batch.sum_over_pods(parts) == pytest.approx((model.errors(rows) + 1) * rows.energy_millijoules)


def test_nnls_agrees_with_scipy_on_the_matrix_itself():
    from scipy.optimize import nnls as reference

    random = np.random.default_rng(3)
    matrix = random.random((200, 12)) * 10.0 ** random.integers(-3, 4, 12)
    target = matrix @ np.maximum(random.normal(size=12), 0) + random.normal(size=200)
    assert nnls(matrix.T @ matrix, matrix.T @ target) == pytest.approx(reference(matrix, target)[0], rel=1e-6, abs=1e-9)


def test_nnls_bears_columns_of_zeros_and_columns_that_repeat():
    matrix = np.random.default_rng(4).random((50, 3))
    doubled = np.column_stack([matrix, matrix, np.zeros(50)])
    solution = nnls(doubled.T @ doubled, doubled.T @ (matrix @ [1.0, 2.0, 3.0]))
    assert solution[:3] + solution[3:6] == pytest.approx([1.0, 2.0, 3.0], rel=1e-4)
    assert solution[6] == 0.0


def test_an_even_sample_is_bounded_and_does_not_depend_on_pieces():
    rows = np.arange(10_000.0)
    whole, pieces = EvenSample(100), EvenSample(100)
    whole.add(rows)
    for start in range(0, 10_000, 13):
        pieces.add(rows[start : start + 13])
    assert whole.rows().tolist() == pieces.rows().tolist()
    assert 95 <= len(whole.rows()) < 200
    assert np.diff(whole.rows()).max() < 3 * np.diff(whole.rows()).min()


@pytest.mark.parametrize("pods", [8, 10, 16])
def test_an_even_sample_takes_all_pods_of_a_node_alike(pods):
    sample = EvenSample(100)
    sample.add(np.tile(np.arange(pods), 10_000 // pods))
    counts = np.bincount(sample.rows().astype(int), minlength=pods)
    assert counts.min() >= 0.6 * counts.mean()
