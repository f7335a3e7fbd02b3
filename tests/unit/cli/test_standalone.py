"""A pipeline used alone, as in a notebook: it compares and publishes by the workflow's own code."""

from __future__ import annotations

from datetime import datetime, timezone

import pandas as pd
import pytest

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.tables import FREQUENCY, NODE_STAT, PACKAGE, POD_STAT
from kepler_train.contract.window import shards_of
from kepler_train.extract import resolve
from kepler_train.extract import step as extract
from kepler_train.simulate import step as simulate
from kepler_train.simulate.spec import SimulationSpec
from kepler_train.standalone import ModelStore
from kepler_train.store import open_store
from kepler_train.train.shipped import CounterLinear

START = datetime(2026, 3, 2, 8, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """What Prometheus recorded, as the four data frames that `train` takes."""
    folder = tmp_path_factory.mktemp("window")
    recordings = simulate.run(SimulationSpec(nodes=2, start=START), folder / "recordings")
    extract.run(resolve.run(recordings=list(map(str, recordings)), now=START), folder / "window")
    return [
        pd.concat([pd.read_parquet(shard / f"{table}.parquet") for shard in shards_of(folder / "window")])
        for table in (POD_STAT, NODE_STAT, FREQUENCY, PACKAGE)
    ]


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
