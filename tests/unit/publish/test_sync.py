"""From the store to an estimator's folder."""

from __future__ import annotations

import os
import time

import pytest

from kepler_train.contract.errors import DamagedModel, StoreError, WrongUsage
from kepler_train.contract.models import flat_name, version_key
from kepler_train.estimators import d351cbf
from kepler_train.publish import models, step
from kepler_train.publish.sync import sync
from kepler_train.store import open_store
from tests.unit.publish.candidates import GROUP, NAME, publish, write_real
from tests.unit.publish.serving import copy_of
from tests.unit.store import versions
from tests.unit.store.processes import DONE, start

FLAT = flat_name(GROUP, NAME)


def contents(folder) -> dict[str, dict[str, bytes]]:
    return {model.name: {file.name: file.read_bytes() for file in model.iterdir()} for model in folder.iterdir()}


def test_the_folder_holds_what_is_served_as_the_stores_own_folder_does(address, tmp_path):
    first = publish(tmp_path, address, "1")
    publish(tmp_path, address, name="other")
    publish(tmp_path, address, "2", champion=first.version)
    store = open_store(address)
    assert sync(store, "d351cbf", tmp_path / "models") == store.read_index()
    assert contents(tmp_path / "models") == copy_of(store)


def test_an_estimator_loads_and_answers_from_the_folder(address, tmp_path):
    step.run(*write_real(tmp_path), address)
    sync(open_store(address), "d351cbf", tmp_path / "models")
    chosen = d351cbf.select(tmp_path / "models", GROUP.features)
    assert d351cbf.load(chosen).powers([[10.0, 1000.0, 5000.0]]) == pytest.approx([10.0])


def test_a_model_that_is_served_no_more_goes_with_the_next_set(address, tmp_path):
    first = publish(tmp_path, address, "1")
    publish(tmp_path, address, "2", champion=first.version)
    store = open_store(address)
    sync(store, "d351cbf", tmp_path / "models")
    models.rollback(store, GROUP, NAME)
    sync(store, "d351cbf", tmp_path / "models")
    assert (tmp_path / "models" / FLAT / "model.sav").read_bytes() == f"model of {NAME} 1".encode()
    assert len([path for path in tmp_path.iterdir() if path.name.startswith(".models.")]) == 1


def test_a_set_that_is_right_already_is_left_in_place_and_one_that_is_not_is_made_anew(address, tmp_path):
    publish(tmp_path, address)
    store, folder = open_store(address), tmp_path / "models"
    sync(store, "d351cbf", folder)
    before = folder.readlink()
    sync(store, "d351cbf", folder)
    assert folder.readlink() == before
    (folder / FLAT / "model.sav").write_bytes(b"altered here")
    sync(store, "d351cbf", folder)
    assert contents(folder) == copy_of(store)


def test_a_damaged_model_stops_the_set_and_the_last_good_one_stays(address, tmp_path):
    first = publish(tmp_path, address, "1")
    store, folder = open_store(address), tmp_path / "models"
    sync(store, "d351cbf", folder)
    second = publish(tmp_path, address, "2", champion=first.version)
    store.objects.delete(version_key(GROUP, NAME, second.version, "scaler.pkl"))
    before = contents(folder)
    with pytest.raises(DamagedModel, match=r"scaler\.pkl.*is missing"):
        sync(store, "d351cbf", folder)
    assert contents(folder) == before


def test_a_store_that_serves_nothing_takes_nothing_away(address, tmp_path):
    publish(tmp_path, address)
    store, folder = open_store(address), tmp_path / "models"
    sync(store, "d351cbf", folder)
    store.objects.delete("index.json")
    with pytest.raises(StoreError, match="serves no model yet"):
        sync(store, "d351cbf", folder)
    assert set(contents(folder)) == {FLAT}


@pytest.mark.parametrize(
    "metadata", [None, b"", b"[]", b"{}", b"\xff\xfe", b'{"model_name": "spline"}', b'{"mae": {}}', b"[" * 100_000]
)
def test_a_served_version_that_an_estimator_would_drop_is_damage(tmp_path, metadata):
    store = open_store(str(tmp_path / "store"))
    files = {"model.sav": b"model", "scaler.pkl": b"scaler"}
    versions.add(store, tmp_path, files=files if metadata is None else {"metadata.json": metadata, **files})
    versions.serve(store)
    with pytest.raises(DamagedModel, match=r"no model for an estimator: .*metadata\.json"):
        sync(store, "d351cbf", tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.fixture
def directory(tmp_path):
    publish(tmp_path, str(tmp_path / "store"))
    return open_store(str(tmp_path / "store"))


def test_an_unknown_generation_is_refused_with_those_there_are(directory, tmp_path):
    with pytest.raises(WrongUsage, match="'v2'; there is d351cbf"):
        sync(directory, "v2", tmp_path / "models")


def test_a_folder_of_somebody_else_is_left_as_it_is(directory, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine").write_text("precious")
    (tmp_path / "link").symlink_to("models")
    for into in (tmp_path / "models", tmp_path / "link", tmp_path / "models" / "mine"):
        with pytest.raises(WrongUsage, match="was not made by sync"):
            sync(directory, "d351cbf", into)
    assert (tmp_path / "models" / "mine").read_text() == "precious"


def test_an_empty_folder_becomes_the_models_folder(directory, tmp_path):
    (tmp_path / "models").mkdir()
    sync(directory, "d351cbf", tmp_path / "models")
    assert set(contents(tmp_path / "models")) == {FLAT}


def test_sets_of_a_folder_with_a_similar_name_are_left_alone(directory, tmp_path):
    for name in ("models.a", "models", "models.a"):
        sync(directory, "d351cbf", tmp_path / name)
        sync(directory, "d351cbf", tmp_path / name)
    assert contents(tmp_path / "models.a") == contents(tmp_path / "models")


def test_a_folder_that_cannot_be_written_is_said(directory, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        sync(directory, "d351cbf", tmp_path / "file" / "models")


def test_who_opens_the_folder_finds_a_whole_set_at_every_moment(tmp_path):
    address = str(tmp_path / "store")
    first = publish(tmp_path, address, "1")
    publish(tmp_path, address, "1", name="other")
    publish(tmp_path, address, "2", champion=first.version)
    folder = tmp_path / "models"
    sync(open_store(address), "d351cbf", folder)

    def turn() -> None:
        store = open_store(address)
        for _ in range(15):
            models.rollback(store, GROUP, NAME, first.version)
            sync(store, "d351cbf", folder)
            models.rollback(store, GROUP, NAME, second)
            sync(store, "d351cbf", folder)

    second = open_store(address).read_index().served(GROUP, NAME).version
    child, seen = start(turn), set()
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        opened = os.open(folder, os.O_RDONLY)
        try:
            assert set(os.listdir(opened)) == {FLAT, flat_name(GROUP, "other")}  # noqa: PTH208 (an open folder)
            seen.add(folder.readlink())
        except FileNotFoundError:
            pass  # the set that was opened has been removed since: who starts now finds the new one
        finally:
            os.close(opened)
        time.sleep(0.001)
    assert os.waitstatus_to_exitcode(ended[1]) == DONE
    assert len(seen) > 2
