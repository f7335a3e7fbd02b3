from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kepler_train.contract.errors import NoData, PipelineError
from kepler_train.contract.features import ARCHITECTURE, COUNTER_FEATURES, WORKLOAD_FEATURES, FeatureGroup
from kepler_train.contract.held_out import TRAINING, split
from kepler_train.contract.models import Decision
from kepler_train.contract.parts import interval_batches, read_part
from kepler_train.train import synthetic
from kepler_train.train.frames import frames_of
from kepler_train.train.training_part import aligned, parts_of
from tests.unit.train.authors import Counters, WritesItself

FULL = FeatureGroup.FULL


@pytest.fixture
def frames(part_of):
    return frames_of(part_of(FeatureGroup.COUNTER_ONLY), 10**9)[0]


def align(frames, features=COUNTER_FEATURES):
    return aligned(frames.pod_stat_data, frames.node_stat_data, frames.pkg_data, features)


def test_frames_have_the_documented_columns(frames):
    assert list(frames.pod_stat_data) == [
        "timestamp",
        "node",
        "pod_name",
        "pod_namespace",
        *WORKLOAD_FEATURES,
        "pod_energy_millijoules",
    ]
    assert {"timestamp", "node", ARCHITECTURE, "node_curr_cpu_time", "node_curr_energy_in_pkg_joule"} <= set(
        frames.node_stat_data
    )
    assert list(frames.freq_data) == ["timestamp", "node", "cpu", "frequency_hertz"]
    assert {"timestamp", "node", "pkg_id", "package_energy_millijoules"} <= set(frames.pkg_data)


def test_aligned_frames_are_the_part_they_came_from(frames, part_of):
    part = align(frames)
    expected = list(interval_batches(part_of(FeatureGroup.COUNTER_ONLY)))
    assert part.pods.tolist() == np.concatenate([batch.pods for batch in expected]).tolist()
    energies = np.concatenate([batch.energy_millijoules for batch in expected])
    assert part.energy_millijoules.tolist() == energies.tolist()
    batches = list(part.batches())
    assert np.concatenate([batch.timestamp_milliseconds for batch in batches]).tolist() == (
        np.concatenate([batch.timestamp_milliseconds for batch in expected]).tolist()
    )
    assert {batch.node for batch in batches} == {"node1", "node2"}
    values = part.pods[:, 0]
    assert part.sum_over_pods(values) == pytest.approx(
        np.concatenate([batch.sum_over_pods(batch.pods[:, 0]) for batch in expected])
    )
    assert part.sum_over_pods(part.pods)[:, 0].tolist() == part.sum_over_pods(values).tolist()


def test_a_category_is_a_column_of_what_an_estimator_would_ask(part_of):
    frames, _ = frames_of(part_of(FULL), 10**9)
    part = align(frames, FULL.features[::-1])
    assert part.pods.dtype == object
    assert set(part.pods[:, 0]) == set(synthetic.ARCHITECTURE_FACTORS)
    assert isinstance(part.pods[0, 1], float)


def test_a_large_part_is_sampled_by_whole_blocks_and_the_same_every_time(part_of):
    folder = part_of(FeatureGroup.COUNTER_ONLY)
    frames, notes = frames_of(folder, 1_000)
    again, _ = frames_of(folder, 1_000)
    assert 0 < len(frames.pod_stat_data) <= 1_000
    assert notes[0].startswith(f"sampled: {len(frames.pod_stat_data)} of {read_part(folder).pod_rows} pod rows")
    pd.testing.assert_frame_equal(frames.pod_stat_data, again.pod_stat_data)
    part, whole = align(frames), align(frames_of(folder, 10**9)[0])
    for node in np.unique(part.node):
        taken = part.block_start_seconds[part.node == node]
        for block, count in zip(*np.unique(taken, return_counts=True), strict=True):
            assert count == ((whole.block_start_seconds == block) & (whole.node == node)).sum()


def test_intervals_that_lack_a_package_a_pod_or_a_value_are_left_out(frames):
    whole = align(frames)
    times = np.unique(frames.pkg_data["timestamp"])
    one = frames.pkg_data["node"] == "node1"
    packages = pd.concat([frames.pkg_data, frames.pkg_data.assign(pkg_id="1")])
    packages = packages[
        ~((packages["node"] == "node1") & (packages["timestamp"] == times[0]) & (packages["pkg_id"] == "1"))
    ]
    assert len(align(frames._replace(pkg_data=packages))) == len(whole) - 1
    broken = frames.pkg_data.copy()
    broken.loc[one & (broken["timestamp"] == times[1]), "package_energy_millijoules"] = np.nan
    assert len(align(frames._replace(pkg_data=broken))) == len(whole) - 1
    assert len(align(frames._replace(pod_stat_data=frames.pod_stat_data.iloc[1:]))) == len(whole) - 1
    holes = frames.pod_stat_data.copy()
    holes.loc[0, "curr_cpu_cycles"] = np.nan
    assert len(align(frames._replace(pod_stat_data=holes))) == len(whole) - 1


def test_without_packages_the_energy_is_what_the_exporter_says_of_them(frames):
    said = frames.node_stat_data.assign(node_curr_energy_in_pkg_joule=200.0)
    part = align(frames._replace(node_stat_data=said, pkg_data=frames.pkg_data.iloc[:0]))
    assert set(part.energy_millijoules) == {200_000.0}


def test_frames_without_their_columns_or_of_two_windows_are_refused(frames):
    with pytest.raises(PipelineError, match="pod_stat_data lacks the column curr_cpu_instr"):
        align(frames._replace(pod_stat_data=frames.pod_stat_data.drop(columns="curr_cpu_instr")))
    later = frames.pod_stat_data.assign(timestamp=frames.pod_stat_data["timestamp"] + pd.Timedelta(days=1))
    with pytest.raises(NoData, match="same window"):
        align(frames._replace(pod_stat_data=later))


def test_times_may_be_in_any_zone_or_none_or_unix_milliseconds(frames):
    expected = align(frames).timestamp_milliseconds.tolist()
    pods, nodes, _, packages = frames
    elsewhere = frames._replace(
        pod_stat_data=pods.assign(timestamp=pods["timestamp"].dt.tz_convert("Europe/Berlin")),
        node_stat_data=nodes.assign(timestamp=nodes["timestamp"].dt.tz_localize(None)),
        pkg_data=packages.assign(timestamp=packages["timestamp"].astype("datetime64[ms, UTC]").astype("int64")),
    )
    assert align(elsewhere).timestamp_milliseconds.tolist() == expected


def test_what_is_no_frame_or_no_time_is_refused_with_its_name(frames):
    with pytest.raises(PipelineError, match="pkg_data is a NoneType; give a data frame, an empty one"):
        align(frames._replace(pkg_data=None))
    seconds = frames.pod_stat_data["timestamp"].astype("datetime64[s, UTC]").astype("int64")
    for times in (seconds, seconds * 10**9, frames.pod_stat_data["timestamp"].where(seconds > seconds[0])):
        with pytest.raises(PipelineError, match="timestamps of pod_stat_data are"):
            align(frames._replace(pod_stat_data=frames.pod_stat_data.assign(timestamp=times)))
    with pytest.raises(PipelineError, match="timestamps of node_stat_data are no times"):
        align(frames._replace(node_stat_data=frames.node_stat_data.assign(timestamp="now and then")))


class Remembers:
    """A store that notes what it was asked to decide on."""

    def update(self, candidate, held_out_part):
        self.candidate = (candidate / "candidate.json").is_file()
        self.part = read_part(held_out_part)
        self.batches = list(interval_batches(held_out_part))
        return Decision(
            run_id="x",
            group=self.part.group,
            model_name="counters",
            model_class="scikit",
            improved=True,
            reason="better",
        )


@pytest.fixture
def raw_frames(frames, tmp_path):
    """Frames of a whole window, as a notebook has them."""
    nodes = synthetic.cluster(nodes=2, intervals=400)
    shifted = [replace(node) for node in nodes]
    tables = [synthetic._tables(node, np.ones(400, dtype=bool)) for node in shifted]
    return [
        pd.concat([table[name].to_pandas() for table in tables], ignore_index=True)
        for name in ("pod_stat_data", "node_intervals", "freq_data", "pkg_data")
    ]


def test_alone_with_a_store_what_is_held_out_judges_and_is_not_trained_on(raw_frames, tmp_path):
    store = Remembers()
    pipeline = Counters(tmp_path / "mine", store)
    decision = pipeline.train(*raw_frames)
    assert decision.improved
    assert (pipeline.model_folder / "model.sav").is_file()
    assert store.candidate
    assert store.part.part == "held_out"
    judged = np.concatenate([batch.timestamp_milliseconds for batch in store.batches])
    assert len(judged) == store.part.node_intervals
    assert (split(judged, 3.0) == 1).all()
    trained = pipeline._training_part.timestamp_milliseconds
    assert (split(trained, 3.0) == TRAINING).all()
    direct = parts_of(aligned(raw_frames[0], raw_frames[1], raw_frames[3], COUNTER_FEATURES))[1]
    assert np.concatenate([batch.pods for batch in store.batches]).tolist() == direct.pods.tolist()
    means = {node: store.part.nodes[node].mean_millijoules for node in store.part.nodes}
    assert all(200_000 < mean < 1_000_000 for mean in means.values())


def test_a_class_that_writes_files_itself_cannot_ignore_its_store(raw_frames, tmp_path):
    with pytest.raises(PipelineError, match="writes-itself was given a store, and only"):
        WritesItself(tmp_path / "mine", Remembers()).train(*raw_frames)


def test_alone_without_a_store_only_files_are_written(raw_frames, tmp_path):
    pipeline = Counters(tmp_path / "mine")
    assert pipeline.train(*raw_frames) is None
    assert sorted(path.name for path in pipeline.model_folder.iterdir()) == ["metadata.json", "model.sav", "scaler.pkl"]
