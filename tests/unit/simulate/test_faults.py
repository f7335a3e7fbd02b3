"""A long faulty recording holds what real ones hold; each fault is looked for in what an exporter shows."""

from collections import defaultdict
from itertools import pairwise

import msgspec
import pytest

from kepler_train.simulate.cluster import Cluster
from kepler_train.simulate.series import NodeExporter
from kepler_train.simulate.spec import SimulationSpec

SPEC = SimulationSpec(nodes=1, duration_seconds=9000)


def scrapes(spec):
    (node,) = Cluster(spec).nodes
    return list(NodeExporter(node, spec.intervals).scrapes(node.stretch(spec.first_interval, spec.intervals)))


@pytest.fixture(scope="module")
def faulty():
    return scrapes(SPEC)


@pytest.fixture(scope="module")
def clean():
    return scrapes(msgspec.structs.replace(SPEC, faults=False, duration_seconds=3000))


def gaps(of):
    return [later.index - earlier.index - 1 for earlier, later in pairwise(of) if later.index > earlier.index + 1]


def falls(of):
    """How often each counter of each package went down."""
    counted = defaultdict(int)
    for earlier, later in pairwise(of):
        for (labels, value), (labels_after, value_after) in zip(earlier.packages, later.packages, strict=True):
            counted["package", labels["pkg_id"]] += int(value_after) < int(value)
            counted["dram", labels["pkg_id"]] += int(labels_after["dram"]) < int(labels["dram"])
    return counted


def system_totals(of):
    return [int(scrape.pods[0][0]["total_cpu_cycles"]) for scrape in of]


def impossible(of):
    found = defaultdict(int)
    for scrape in of:
        found["duplicate"] += len(scrape.duplicates)
        for labels, value in scrape.pods:
            found["not a number"] += value == "NaN"
            found["empty label"] += labels["curr_container_cpu_usage_seconds_total"] == ""
            counters = [int(labels[f"curr_{name}"]) for name in ("cache_miss", "cpu_cycles", "cpu_instr", "cpu_time")]
            found["below zero"] += max(counters) > 2**63
            found["more time than there is"] += 72 * 3000 < counters[3] < 2**63
    return dict(found)


def test_without_faults_every_interval_is_there_and_every_value_possible(clean):
    assert len(clean) == 1000
    assert not gaps(clean)
    assert not any(impossible(clean).values())
    assert not any(falls(clean).values())
    assert system_totals(clean) == sorted(system_totals(clean))


def test_exporters_restart_and_their_counters_begin_again(faulty):
    assert 4 in gaps(faulty)
    totals = system_totals(faulty)
    restarts = [
        scrape.index for scrape, (before, after) in zip(faulty[1:], pairwise(totals), strict=True) if after < before
    ]
    assert 1 <= len(restarts) <= 12
    for scrape in faulty:
        if scrape.index in restarts:
            assert all(labels["total_cpu_instr"] == labels["curr_cpu_instr"] for labels, _ in scrape.pods)


def test_single_scrapes_are_missed(faulty):
    assert 1 in gaps(faulty)


def test_every_package_counter_wraps(faulty):
    assert len(falls(faulty)) == 4
    assert min(falls(faulty).values()) >= 1


def test_a_reboot_starts_all_package_counters_again_and_a_wrap_one(faulty):
    together = [
        {int(value_after) < int(value) for (_, value), (_, value_after) in zip(a.packages, b.packages, strict=True)}
        for a, b in pairwise(faulty)
    ]
    assert {True} in together
    assert {True, False} in together


def test_impossible_values_occur_and_are_rare(faulty):
    found = impossible(faulty)
    rows = sum(len(scrape.pods) for scrape in faulty)
    for name in ("duplicate", "not a number", "empty label", "below zero", "more time than there is"):
        assert 1 <= found[name] < rows / 300, name


def test_an_impossible_value_goes_into_the_nodes_sum_as_unsigned_numbers_do(faulty):
    for scrape in faulty:
        pods = sum(int(labels["curr_cpu_instr"]) for labels, _ in scrape.pods)
        assert int(scrape.node[0]["node_curr_cpu_instr"]) == pods % 2**64


def test_faults_leave_the_true_cluster_as_it_is():
    faulty, clean = (
        Cluster(msgspec.structs.replace(SPEC, faults=faults)).nodes[0].stretch(SPEC.first_interval, 100)
        for faults in (True, False)
    )
    assert (faulty.truth_millijoules == clean.truth_millijoules).all()
