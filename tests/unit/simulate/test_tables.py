import numpy as np
import pyarrow.compute as pc
import pytest

from kepler_train.contract import tables as contract
from kepler_train.simulate.cluster import Cluster
from kepler_train.simulate.spec import SimulationSpec
from kepler_train.simulate.tables import truth_table, window_tables

SPEC = SimulationSpec(nodes=1)


@pytest.fixture(scope="module")
def stretch():
    return Cluster(SPEC).nodes[0].stretch(SPEC.first_interval, 50)


def test_tables_are_those_of_the_contract(stretch):
    tables = window_tables(stretch)
    assert set(tables) == set(contract.METRIC_OF_TABLE)
    for name, table in tables.items():
        assert table.schema.equals(contract.SCHEMAS[name]), name
        table.validate(full=True)
    assert {name: table.num_rows for name, table in tables.items()} == {
        contract.POD_STAT: len(stretch.row_pod),
        contract.NODE_STAT: 50,
        contract.FREQUENCY: 50 * 72,
        contract.PACKAGE: 50 * 2,
    }


def test_pods_of_an_interval_add_up_to_the_nodes_row(stretch):
    tables = window_tables(stretch)
    sums = tables[contract.POD_STAT].group_by("timestamp").aggregate([("curr_cpu_instr", "sum")]).sort_by("timestamp")
    assert sums["curr_cpu_instr_sum"].to_pylist() == tables[contract.NODE_STAT]["node_curr_cpu_instr"].to_pylist()


def test_packages_add_up_to_the_nodes_energy(stretch):
    tables = window_tables(stretch)
    packages = tables[contract.PACKAGE]["package_energy_millijoules"].to_numpy().reshape(-1, 2).sum(axis=1)
    node = tables[contract.NODE_STAT]["node_curr_energy_in_pkg_joule"].to_numpy()
    np.testing.assert_allclose(packages, node * 1e3)
    np.testing.assert_allclose(packages, stretch.node_energy_millijoules)


def test_frequencies_are_in_hertz(stretch):
    frequency = window_tables(stretch)[contract.FREQUENCY]["frequency_hertz"]
    assert 1e9 < pc.min(frequency).as_py() < pc.max(frequency).as_py() < 4e9


def test_truth_stands_beside_each_pod_row(stretch):
    pods, truth = window_tables(stretch)[contract.POD_STAT], truth_table(stretch)
    for column in ("timestamp", "node", "pod_name", "pod_namespace"):
        assert truth[column].to_pylist() == pods[column].to_pylist()
    assert truth["power_millijoules"].to_pylist() == stretch.truth_millijoules.tolist()
