"""A pipeline used alone, as in a notebook: it compares and publishes by the workflow's own code."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timezone

import pandas as pd
import pytest

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.tables import FREQUENCY, SCHEMAS
from kepler_train.extract import resolve
from kepler_train.extract import step as extract
from kepler_train.simulate import step as simulate
from kepler_train.simulate.spec import SimulationSpec
from kepler_train.standalone import ModelStore, frames_of
from kepler_train.store import open_store
from kepler_train.train.shipped import CounterLinear

START = datetime(2026, 3, 2, 8, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder of what Prometheus recorded."""
    folder = tmp_path_factory.mktemp("window") / "recordings"
    simulate.run(SimulationSpec(nodes=2, start=START, duration_seconds=2400.0), folder)
    return folder


@pytest.fixture(scope="module")
def frames(recordings):
    return frames_of(str(recordings))


def test_a_window_that_a_run_extracted_gives_the_same_frames_with_all_its_rows(recordings, frames, tmp_path):
    files = [str(file) for file in recordings.glob("*.json.gz")]
    summary = extract.run(resolve.run(recordings=files, now=START), tmp_path)
    again = frames_of(tmp_path)
    for table, frame in again._asdict().items():
        assert len(frame) == summary.rows[table] > 0
        assert list(frame) == SCHEMAS[table].names
        pd.testing.assert_frame_equal(frame, getattr(frames, table))


def test_a_metric_that_was_not_recorded_is_an_empty_frame_with_its_columns(recordings, tmp_path):
    recording = json.loads(gzip.decompress(next(recordings.glob("*.json.gz")).read_bytes()))
    del recording["node_cpu_scaling_frequency_hertz"]
    (tmp_path / "recording.json").write_text(json.dumps(recording, separators=(",", ":")))
    frame = frames_of(tmp_path).freq_data
    assert (len(frame), list(frame)) == (0, SCHEMAS[FREQUENCY].names)


def test_a_folder_without_a_window_is_refused(tmp_path):
    with pytest.raises(WrongUsage, match="holds neither recordings nor an extracted window"):
        frames_of(tmp_path)


def test_the_first_model_is_published_and_the_same_again_is_not(frames, tmp_path):
    address = str(tmp_path / "models")
    first = CounterLinear(store=ModelStore(address)).train(*frames)
    champion = open_store(address).read_index().served(FeatureGroup.COUNTER_ONLY, "linear")
    again = CounterLinear(store=ModelStore(address)).train(*frames)

    assert first.improved, first.reason
    assert not first.champion_version
    assert not again.improved
    assert again.champion_version == champion.version
    assert open_store(address).read_index().served(FeatureGroup.COUNTER_ONLY, "linear") == champion


def test_without_a_store_nothing_is_decided_and_the_files_are_there(frames, tmp_path):
    pipeline = CounterLinear(folder=tmp_path / "alone")
    assert pipeline.train(*frames) is None
    assert {"metadata.json", "scaler.pkl", "model.sav"} <= {path.name for path in pipeline.model_folder.iterdir()}


def test_an_address_that_is_none_is_refused_before_training():
    with pytest.raises(WrongUsage, match="s3://bucket/prefix"):
        ModelStore("https://models.example.org")
