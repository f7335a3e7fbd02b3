import random

import pytest

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import FeatureGroup, exporter_label, group_named, group_of


@pytest.mark.parametrize("group", FeatureGroup)
def test_a_group_is_found_from_its_features_in_any_order(group):
    shuffled = random.Random(group.value).sample(group.features, len(group.features))
    assert group_of(shuffled) is group


@pytest.mark.parametrize(
    "features",
    [
        [],
        ["curr_cpu_cycles"],
        [*FeatureGroup.COUNTER_ONLY.features, "curr_cpu_cycles"],
        ["curr_cpu_cycles", "curr_cpu_cycles", "curr_cpu_instr"],
        ["cpu_architecture"],
    ],
)
def test_a_set_that_is_no_group_is_refused_with_the_six_listed(features):
    with pytest.raises(WrongUsage) as refusal:
        group_of(features)
    for group in FeatureGroup:
        assert f"{group.value}: {', '.join(group.features)}" in str(refusal.value)


def test_an_unknown_group_name_is_refused_with_the_six_named():
    with pytest.raises(WrongUsage, match="Full, WorkloadOnly, CounterOnly, CgroupOnly, BPFOnly, KubeletOnly"):
        group_named("Counter")


def test_kubelet_features_carry_a_prefix_in_the_exporter_only():
    assert exporter_label("container_cpu_usage_seconds_total") == "curr_container_cpu_usage_seconds_total"
    assert exporter_label("curr_cpu_time") == "curr_cpu_time"
