from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from kepler_train.assemble.step import run
from kepler_train.contract.errors import BrokenContract, NoData
from kepler_train.contract.features import ARCHITECTURE, FeatureGroup
from kepler_train.contract.held_out import BLOCK_SECONDS, is_held_out
from kepler_train.contract.parts import interval_batches, read_part
from kepler_train.contract.tables import (
    DUPLICATE,
    FREQUENCY,
    NODE_INTERVALS,
    NODE_INTERVALS_SCHEMA,
    NODE_STAT,
    PACKAGE,
    POD_STAT,
    SET_APART,
)
from kepler_train.contract.window import SHARDS, SUMMARY_FILE, WindowSummary, shards_of
from tests.unit.assemble.windows import START_MILLISECONDS, set_apart_rows, steady_node, write_window

COUNTERS = FeatureGroup.COUNTER_ONLY
FIT_MILLISECONDS = START_MILLISECONDS + 90_000
"""An interval in the middle of a training block."""


def assemble(tmp_path, *nodes, group=COUNTERS, **options):
    window = write_window(tmp_path / "window", *nodes, **options)
    parts = run([window], group, tmp_path / "training", tmp_path / "held_out")
    return *parts, tmp_path / "training", tmp_path / "held_out"


def times_in(part):
    return np.concatenate([batch.timestamp_milliseconds for batch in interval_batches(part)])


def rows_of(part, table):
    return pd.concat(pq.read_table(shard / f"{table}.parquet").to_pandas() for shard in shards_of(part))


def milliseconds(frame):
    return frame["timestamp"].astype("datetime64[ms, UTC]").astype("int64").to_numpy()


@pytest.mark.parametrize("group", list(FeatureGroup))
def test_both_parts_hold_the_pods_of_their_intervals_with_the_measured_energy(tmp_path, group):
    nodes = [steady_node("a", seed=1), steady_node("b", seed=2)]
    training, held_out, *folders = assemble(tmp_path, *nodes, group=group)
    numeric = [feature for feature in group.features if feature != ARCHITECTURE]
    for part, folder in zip((training, held_out), folders, strict=True):
        intervals = 0
        for batch in interval_batches(folder):
            frames = next(frames for frames in nodes if frames.node == batch.node)
            pods = frames.tables[POD_STAT]
            expected = pods[pods["timestamp"].isin(batch.timestamp_milliseconds)]
            np.testing.assert_array_equal(batch.pods, expected[numeric].to_numpy())
            counts = expected.groupby("timestamp").size()
            np.testing.assert_array_equal(np.diff(batch.starts), counts.to_numpy())
            rows = frames.tables[PACKAGE]
            energy = rows.groupby("timestamp")["package_energy_millijoules"].sum()[batch.timestamp_milliseconds]
            np.testing.assert_allclose(batch.energy_millijoules, energy, rtol=1e-12)
            np.testing.assert_array_equal(
                batch.block_start_seconds, batch.timestamp_milliseconds // 60_000 * BLOCK_SECONDS
            )
            intervals += len(batch)
        assert part == read_part(folder)
        assert intervals == part.node_intervals == sum(node.node_intervals for node in part.nodes.values())
        assert part.pod_rows == sum(node.pod_rows for node in part.nodes.values()) > 0
    assert training.node_intervals + held_out.node_intervals + sum(training.set_apart.values()) == 800


def test_no_training_interval_touches_a_held_out_block(tmp_path):
    _, _, training, held_out = assemble(tmp_path, steady_node())
    assert all(is_held_out(int(time) // 60_000 * 60) for time in times_in(held_out))
    for shift in (-3000, 0, 3000):
        assert not any(is_held_out((int(time) + shift) // 60_000 * 60) for time in times_in(training))


def test_the_gap_is_counted_on_both_sides_of_each_held_out_block(tmp_path):
    training, held_out, *_ = assemble(tmp_path, steady_node(intervals=400))
    # The window is 20 blocks and begins with a held-out one, which has no side before it.
    assert held_out.blocks == 5
    assert training.set_apart == held_out.set_apart == {"gap_beside_held_out": 9}


def test_an_interval_held_out_in_one_window_is_trained_on_in_no_other(tmp_path):
    late = START_MILLISECONDS + 100 * 3000 + 1234
    _, _, _, held_out = assemble(tmp_path / "early", steady_node(seed=1))
    _, _, training, _ = assemble(tmp_path / "late", steady_node(start=late, seed=2))
    blocks_judged, blocks_trained = (set(times_in(part) // 60_000) for part in (held_out, training))
    assert not blocks_judged & blocks_trained


def test_the_mean_energy_of_a_node_is_of_training_in_both_parts(tmp_path):
    training, held_out, folder, _ = assemble(tmp_path, steady_node("a"), steady_node("b", seed=5, idle=300_000.0))
    for node in ("a", "b"):
        energy = np.concatenate([b.energy_millijoules for b in interval_batches(folder) if b.node == node])
        assert training.nodes[node].mean_millijoules == pytest.approx(energy.mean(), rel=1e-12)
        assert held_out.nodes[node].mean_millijoules == training.nodes[node].mean_millijoules


def test_a_node_never_trained_on_is_given_the_mean_over_the_others(tmp_path):
    # The new node lives only in the window's first block, which is held out.
    _, held_out, folder, _ = assemble(tmp_path, steady_node("a"), steady_node("new", intervals=15, idle=1.0))
    energy = np.concatenate([batch.energy_millijoules for batch in interval_batches(folder)])
    assert held_out.nodes["new"].mean_millijoules == pytest.approx(energy.mean(), rel=1e-12)


def test_frequencies_and_packages_are_split_like_the_pods(tmp_path):
    *_, training, held_out = assemble(tmp_path, steady_node("a"), steady_node("b", seed=2))
    for folder in (training, held_out):
        times = set(times_in(folder))
        for table, rows_an_interval in ((FREQUENCY, 2), (PACKAGE, 2)):
            rows = rows_of(folder, table)
            assert set(milliseconds(rows)) == times
            assert len(rows) == read_part(folder).node_intervals * rows_an_interval


def test_row_groups_of_all_tables_cover_the_same_intervals(tmp_path):
    *_, training, _ = assemble(tmp_path, steady_node(intervals=3000, pods=100), shard_intervals=3000)
    shard = max(shards_of(training), key=lambda folder: (folder / f"{POD_STAT}.parquet").stat().st_size)
    files = {name: pq.ParquetFile(shard / f"{name}.parquet") for name in (NODE_INTERVALS, POD_STAT, PACKAGE, FREQUENCY)}
    assert files[NODE_INTERVALS].num_row_groups > 1
    for index in range(files[NODE_INTERVALS].num_row_groups):
        spans = {}
        for name, file in files.items():
            times = milliseconds(file.read_row_group(index, columns=["timestamp"]).to_pandas())
            spans[name] = (times.min(), times.max())
        assert len(set(spans.values())) == 1
    assert sum(len(batch) for batch in interval_batches(training)) == read_part(training).node_intervals


def test_node_rows_keep_the_exporters_labels(tmp_path):
    frames = steady_node()
    *_, training, _ = assemble(tmp_path, frames)
    assert pq.read_schema(next(shards_of(training)) / f"{NODE_INTERVALS}.parquet").equals(NODE_INTERVALS_SCHEMA)
    rows = rows_of(training, NODE_INTERVALS)
    expected = frames.tables[NODE_STAT].set_index("timestamp").loc[milliseconds(rows)]
    np.testing.assert_array_equal(rows["node_curr_cpu_time"], expected["node_curr_cpu_time"])


def damage(frames, reason):
    """Make the interval at FIT_MILLISECONDS unfit for one reason."""
    pods, nodes, packages = (frames.tables[table] for table in (POD_STAT, NODE_STAT, PACKAGE))
    here = {table: frame["timestamp"] == FIT_MILLISECONDS for table, frame in frames.tables.items()}
    first_pod = here[POD_STAT].idxmax()
    if reason == "no_energy":
        frames.drop(PACKAGE, here[PACKAGE] & (packages["pkg_id"] == "1"))
    elif reason == "impossible_energy":
        packages.loc[here[PACKAGE], "package_energy_millijoules"] = 0.0
    elif reason == "no_pods":
        frames.drop(POD_STAT, here[POD_STAT])
        frames.drop(NODE_STAT, here[NODE_STAT])
    elif reason == "lost_pod_row":
        frames.tables[SET_APART] = set_apart_rows(frames.node, POD_STAT, [FIT_MILLISECONDS])
    elif reason == "missing_feature":
        pods.loc[first_pod, "curr_cpu_instr"] = np.nan
    elif reason == "incomplete":
        nodes.loc[here[NODE_STAT], "node_curr_cache_miss"] += 2


@pytest.mark.parametrize(
    "reason", ["no_energy", "impossible_energy", "no_pods", "lost_pod_row", "missing_feature", "incomplete"]
)
def test_an_unfit_interval_is_in_neither_part_and_counted_by_reason(tmp_path, reason):
    frames = steady_node()
    damage(frames, reason)
    training, held_out, *folders = assemble(tmp_path, frames)
    assert training.set_apart == held_out.set_apart == {reason: 1, "gap_beside_held_out": 9}
    assert not any(FIT_MILLISECONDS in times_in(folder) for folder in folders)


def test_a_duplicate_set_apart_loses_nothing(tmp_path):
    frames = steady_node()
    frames.tables[SET_APART] = set_apart_rows(frames.node, POD_STAT, [FIT_MILLISECONDS], reason=DUPLICATE)
    training, *_ = assemble(tmp_path, frames)
    assert training.set_apart == {"gap_beside_held_out": 9}


def test_a_node_row_set_apart_loses_no_pod(tmp_path):
    frames = steady_node()
    frames.drop(NODE_STAT, frames.tables[NODE_STAT]["timestamp"] == FIT_MILLISECONDS)
    frames.tables[SET_APART] = set_apart_rows(frames.node, NODE_STAT, [FIT_MILLISECONDS])
    training, _, folder, _ = assemble(tmp_path, frames)
    assert training.set_apart == {"gap_beside_held_out": 9}
    assert rows_of(folder, NODE_INTERVALS)["node_curr_cpu_time"].isna().sum() == 1


@pytest.mark.parametrize("energy", [-5.0, np.inf, 2.0**63, 1e8])
def test_an_energy_no_node_can_draw_is_no_measurement(tmp_path, energy):
    frames = steady_node()
    rows = frames.tables[PACKAGE]
    rows.loc[rows["timestamp"] == FIT_MILLISECONDS, "package_energy_millijoules"] = energy
    training, *_ = assemble(tmp_path, frames)
    assert training.set_apart["impossible_energy"] == 1


def test_a_package_reported_twice_does_not_stand_in_for_the_one_that_is_missing(tmp_path):
    frames = steady_node()
    rows = frames.tables[PACKAGE]
    rows.loc[rows["timestamp"] == FIT_MILLISECONDS, "pkg_id"] = "0"
    training, *_ = assemble(tmp_path, frames)
    assert training.set_apart["no_energy"] == 1


def test_a_package_seen_in_another_shard_only_is_missing_here(tmp_path):
    frames = steady_node()
    rows = frames.tables[PACKAGE]
    frames.drop(PACKAGE, (rows["pkg_id"] == "1") & (rows["timestamp"] < START_MILLISECONDS + 200 * 3000))
    training, held_out, *_ = assemble(tmp_path, frames, shard_intervals=50)
    assert training.set_apart["no_energy"] == 200
    assert training.node_intervals + held_out.node_intervals < 200


def test_a_package_whose_samples_were_all_set_apart_is_missing_and_not_nothing(tmp_path):
    frames = steady_node()
    rows = frames.tables[PACKAGE]
    lost = rows.loc[(rows["pkg_id"] == "1") & (rows["timestamp"] >= START_MILLISECONDS + 200 * 3000), "timestamp"]
    frames.drop(PACKAGE, rows["pkg_id"] == "1")
    frames.tables[SET_APART] = set_apart_rows(frames.node, PACKAGE, list(lost), "not_finite")
    training, *_ = assemble(tmp_path, frames)
    assert training.set_apart["no_energy"] == 200


def test_rounding_of_labels_does_not_make_an_interval_incomplete(tmp_path):
    frames = steady_node()
    frames.tables[NODE_STAT]["node_curr_cache_miss"] += 0.4
    training, *_ = assemble(tmp_path, frames)
    assert "incomplete" not in training.set_apart


def test_a_feature_of_another_group_is_not_this_groups_concern(tmp_path):
    frames = steady_node()
    frames.tables[POD_STAT]["curr_bytes_read"] = np.nan
    training, *_ = assemble(tmp_path, frames)
    assert training.set_apart == {"gap_beside_held_out": 9}


def test_an_interval_in_which_no_pod_ran_is_a_measurement_of_idle(tmp_path):
    frames = steady_node()
    frames.drop(POD_STAT, frames.tables[POD_STAT]["timestamp"] == FIT_MILLISECONDS)
    nodes = frames.tables[NODE_STAT]
    counters = [column for column in nodes if column.startswith("node_curr_") and "energy" not in column]
    nodes.loc[nodes["timestamp"] == FIT_MILLISECONDS, counters] = 0.0
    training, _, folder, _ = assemble(tmp_path, frames)
    assert training.set_apart == {"gap_beside_held_out": 9}
    batch = next(b for b in interval_batches(folder) if FIT_MILLISECONDS in b.timestamp_milliseconds)
    index = int(np.searchsorted(batch.timestamp_milliseconds, FIT_MILLISECONDS))
    assert batch.starts[index] == batch.starts[index + 1]


def test_a_shard_without_any_pods_is_read_as_idle(tmp_path):
    busy, idle = steady_node("a"), steady_node("b")
    del idle.tables[POD_STAT]
    nodes = idle.tables[NODE_STAT]
    nodes[[column for column in nodes if column.startswith("node_curr_") and "energy" not in column]] = 0.0
    training, _, folder, _ = assemble(tmp_path, busy, idle)
    assert training.nodes["b"].pod_rows == 0
    assert training.nodes["b"].node_intervals == training.nodes["a"].node_intervals
    assert all(batch.pods.shape == (0, 3) for batch in interval_batches(folder) if batch.node == "b")


def test_without_package_energies_the_exporters_own_sum_stands_in_and_is_named(tmp_path):
    frames = steady_node()
    energy = frames.tables[NODE_STAT].set_index("timestamp")["node_curr_energy_in_pkg_joule"] * 1000
    del frames.tables[PACKAGE]
    training, held_out, folder, _ = assemble(tmp_path, frames)
    assert "node_curr_energy_in_pkg_joule" in training.notes[0]
    assert training.notes == held_out.notes
    for batch in interval_batches(folder):
        np.testing.assert_allclose(batch.energy_millijoules, energy[batch.timestamp_milliseconds], rtol=1e-12)


def test_labels_do_not_stand_in_where_only_one_node_lacks_package_energies(tmp_path):
    without = steady_node("b")
    del without.tables[PACKAGE]
    training, *_ = assemble(tmp_path, steady_node("a"), without)
    assert training.set_apart["no_energy"] == 400
    assert list(training.nodes) == ["a"]
    assert training.notes == ()


def test_without_node_rows_package_energies_serve_and_the_architecture_is_unknown(tmp_path):
    frames = steady_node()
    del frames.tables[NODE_STAT]
    training, _, folder, _ = assemble(tmp_path, frames, group=FeatureGroup.FULL)
    assert training.nodes["node1"].cpu_architecture == "unknown"
    assert training.set_apart == {"gap_beside_held_out": 9}
    assert next(interval_batches(folder)).request()[0, -1] == "unknown"
    assert set(rows_of(folder, POD_STAT)[ARCHITECTURE]) == {"unknown"}


def test_features_with_one_value_in_all_training_rows_are_listed(tmp_path):
    frames = steady_node()
    pods, nodes = frames.tables[POD_STAT], frames.tables[NODE_STAT]
    held_out_only = pods["timestamp"] < START_MILLISECONDS + 30_000
    for feature in ("curr_bytes_read", "curr_bytes_writes"):
        pods[feature] = np.where(held_out_only & (feature == "curr_bytes_writes"), 7.0, 0.0)
        nodes[f"node_{feature}"] = pods.groupby("timestamp")[feature].sum().to_numpy()
    training, *_ = assemble(tmp_path, frames, group=FeatureGroup.FULL)
    assert training.without_signal == ("curr_bytes_read", "curr_bytes_writes", ARCHITECTURE)


def test_architecture_tells_nodes_apart_where_there_are_two(tmp_path):
    other = steady_node("b")
    other.tables[NODE_STAT][ARCHITECTURE] = "Haswell"
    training, *_ = assemble(tmp_path, steady_node("a"), other, group=FeatureGroup.FULL)
    assert training.without_signal == ()
    assert [training.nodes[node].cpu_architecture for node in "ab"] == ["Broadwell", "Haswell"]


def test_assembling_again_replaces_what_an_interrupted_attempt_left(tmp_path):
    frames = steady_node()
    left = tmp_path / "training" / SHARDS / "ghost@20200101T000000.000000Z"
    left.mkdir(parents=True)
    training, *_ = assemble(tmp_path, frames)
    assert not left.exists()
    again, _ = run([tmp_path / "window"], COUNTERS, tmp_path / "training", tmp_path / "held_out")
    assert again == training


def expect_no_data(tmp_path, *nodes, **options):
    with pytest.raises(NoData) as caught:
        assemble(tmp_path, *nodes, **options)
    assert not (tmp_path / "training" / "part.json").exists()
    return str(caught.value)


def test_a_window_without_rows_asks_whether_kepler_is_scraped(tmp_path):
    assert "is Kepler scraped" in expect_no_data(tmp_path)


def test_pods_without_energy_are_told_what_energy_needs(tmp_path):
    frames = steady_node()
    del frames.tables[PACKAGE], frames.tables[NODE_STAT]
    message = expect_no_data(tmp_path, frames)
    assert "400 no_energy" in message
    assert "RAPL" in message


def test_energy_without_pods_or_node_rows_is_told_that_pods_are_missing(tmp_path):
    frames = steady_node()
    del frames.tables[POD_STAT], frames.tables[NODE_STAT]
    assert "pod_energy_stat has no samples" in expect_no_data(tmp_path, frames)


def test_a_window_in_which_no_pod_ran_is_refused(tmp_path):
    frames = steady_node()
    del frames.tables[POD_STAT]
    nodes = frames.tables[NODE_STAT]
    nodes[[column for column in nodes if column.startswith("node_curr_") and "energy" not in column]] = 0.0
    assert "no pod ran" in expect_no_data(tmp_path, frames)


def test_a_window_without_a_held_out_block_is_told_when_the_next_one_ends(tmp_path):
    message = expect_no_data(tmp_path, steady_node(start=START_MILLISECONDS + 60_000, intervals=20))
    # Blocks 1 to 4 after the start are not held out, block 5 is: from 09:52:00 to 09:53:00.
    assert "extend the window to 2022-10-17 09:53:00 UTC" in message


def test_a_single_interval_is_told_how_long_a_window_must_be(tmp_path):
    message = expect_no_data(tmp_path, steady_node(intervals=1))
    # It lies in the first, held-out block.
    assert "extend the window beyond 2022-10-17 09:48:00 UTC" in message
    assert "40 minutes are practically always enough" in message


def test_a_group_whose_features_do_not_add_up_has_empty_parts_that_say_so_and_others_go_on(tmp_path):
    frames = steady_node()
    frames.tables[NODE_STAT]["node_curr_cache_miss"] += 2
    training, held_out, *folders = assemble(tmp_path, frames)
    assert training.node_intervals == held_out.node_intervals == 0
    assert "no node interval can be used for CounterOnly: of 400, 400 incomplete" in training.notes[0]
    assert training.notes == held_out.notes
    assert not any(list(shards_of(folder)) for folder in folders)
    bpf, _ = run([tmp_path / "window"], FeatureGroup.BPF_ONLY, tmp_path / "bpf", tmp_path / "bpf_held_out")
    assert bpf.node_intervals


def test_a_group_whose_features_are_written_for_a_while_only_has_no_part_rather_than_one(tmp_path):
    frames = steady_node()
    pods = frames.tables[POD_STAT]
    # The window's first block is held out, and no other has counters.
    pods.loc[pods["timestamp"] >= START_MILLISECONDS + 60_000, "curr_cpu_instr"] = np.nan
    training, held_out, *folders = assemble(tmp_path, frames)
    assert training.node_intervals == held_out.node_intervals == 0
    assert "nothing to train CounterOnly on" in training.notes[0]
    assert not any(list(shards_of(folder)) for folder in folders)


def test_a_short_window_is_told_at_once_even_where_a_group_lacks_a_feature(tmp_path):
    frames = steady_node(start=START_MILLISECONDS + 60_000, intervals=20)
    frames.tables[POD_STAT].loc[0, "curr_cpu_instr"] = np.nan
    assert "extend the window" in expect_no_data(tmp_path, frames)


def test_a_window_that_is_mostly_set_apart_is_told_why_and_not_that_it_is_short(tmp_path):
    frames = steady_node()
    frames.drop(PACKAGE, frames.tables[PACKAGE]["timestamp"] >= START_MILLISECONDS + 60_000)
    message = expect_no_data(tmp_path, frames)
    assert "nothing to train CounterOnly on: all 20 usable" in message
    assert "set apart were 380 no_energy; an interval's energy is the difference" in message
    assert "extend" not in message


def test_package_energies_that_were_all_set_apart_are_named_as_such(tmp_path):
    frames = steady_node()
    del frames.tables[PACKAGE]
    window = write_window(tmp_path / "window", frames)
    summary = WindowSummary.read(window / SUMMARY_FILE)
    replace(summary, set_apart={PACKAGE: {"first_sample": 2, "gap": 790}}).write(window / SUMMARY_FILE)
    training, _ = run([window], COUNTERS, tmp_path / "training", tmp_path / "held_out")
    said = "no usable samples of node_package_energy_millijoule in this window (set apart: 2 first_sample, 790 gap)"
    assert training.notes[0].startswith(said)


def scraped_too_rarely(tmp_path, frames, reason="gap"):
    """A window in which but two intervals have package energies: the exporter restarted, and was read 3 s later."""
    late = [START_MILLISECONDS + 600_000, START_MILLISECONDS + 603_000]
    frames.drop(PACKAGE, ~frames.tables[PACKAGE]["timestamp"].isin(late))
    window = write_window(tmp_path / "window", frames)
    summary = WindowSummary.read(window / SUMMARY_FILE)
    replace(summary, set_apart={PACKAGE: {reason: 796}}).write(window / SUMMARY_FILE)
    return window


@pytest.mark.parametrize("reason", ["gap", "first_sample"])
def test_a_few_package_energies_among_gaps_do_not_stand_for_the_window(tmp_path, reason):
    window = scraped_too_rarely(tmp_path, steady_node(), reason)
    training, held_out = run([window], COUNTERS, tmp_path / "training", tmp_path / "held_out")
    assert training.set_apart.keys() == {"gap_beside_held_out"}
    assert held_out.node_intervals
    said = f"only 4 usable samples of node_package_energy_millijoule in this window (set apart: 796 {reason})"
    assert training.notes[0].startswith(said)


def test_a_few_package_energies_are_better_than_none(tmp_path):
    frames = steady_node()
    del frames.tables[NODE_STAT]
    window = scraped_too_rarely(tmp_path, frames)
    with pytest.raises(NoData, match="none of 1 usable node intervals"):
        run([window], COUNTERS, tmp_path / "training", tmp_path / "held_out")


def test_a_folder_that_is_no_window_is_refused(tmp_path):
    with pytest.raises(BrokenContract, match=r"window\.json"):
        run([tmp_path], COUNTERS, tmp_path / "training", tmp_path / "held_out")


def test_a_table_out_of_time_order_is_refused(tmp_path):
    frames = steady_node(intervals=20)
    frames.tables[POD_STAT] = frames.tables[POD_STAT].iloc[::-1]
    with pytest.raises(BrokenContract, match="not in time order"):
        assemble(tmp_path, frames)


def test_a_truncated_table_is_refused_by_name(tmp_path):
    window = write_window(tmp_path / "window", steady_node())
    damaged = next(shards_of(window)) / f"{POD_STAT}.parquet"
    damaged.write_bytes(damaged.read_bytes()[:500])
    with pytest.raises(BrokenContract, match=POD_STAT):
        run([window], COUNTERS, tmp_path / "training", tmp_path / "held_out")
