"""From the store to an estimator's folder."""

from __future__ import annotations

import fcntl
import os
import time

import msgspec
import numpy as np
import pytest

from kepler_train.cli import main
from kepler_train.contract.errors import DamagedModel, NothingServed, NotWritable, StoreError, WrongUsage
from kepler_train.contract.models import flat_name, version_key
from kepler_train.estimators.folder_estimator import FolderEstimator, request_for
from kepler_train.estimators.unix_socket import ask, listening
from kepler_train.publish import models, step
from kepler_train.store import open_store
from kepler_train.sync.models_folder import CURRENT, find_current, set_version, sync
from tests.unit.publish.candidates import GROUP, NAME, publish, write_real
from tests.unit.publish.serving import copy_of
from tests.unit.store import versions
from tests.unit.store.processes import DONE, start
from tests.unit.sync.folders import contents, sets

FLAT = flat_name(GROUP, NAME)


@pytest.fixture
def directory(tmp_path):
    publish(tmp_path, str(tmp_path / "store"))
    return open_store(str(tmp_path / "store"))


def test_the_folder_holds_what_is_served_as_the_stores_own_folder_does(address, tmp_path):
    first = publish(tmp_path, address, "1")
    publish(tmp_path, address, name="other")
    publish(tmp_path, address, "2", champion=first.version)
    store = open_store(address)
    made = sync(store, "d351cbf", tmp_path / "models")
    assert made == find_current(tmp_path / "models")
    assert made.version == set_version(store.read_index(), "d351cbf")
    assert contents(tmp_path / "models") == copy_of(store)


def test_an_estimator_loads_and_answers_from_the_folder(address, tmp_path):
    step.run(*write_real(tmp_path), address)
    sync(open_store(address), "d351cbf", tmp_path / "models")
    with listening(FolderEstimator(tmp_path / "models" / CURRENT)) as socket:
        powers = ask(socket, request_for(GROUP.features, np.array([[10.0, 1000.0, 5000.0]])))
    assert powers == pytest.approx([10.0])


def test_a_model_that_is_served_no_more_goes_with_the_next_set(address, tmp_path):
    first = publish(tmp_path, address, "1")
    publish(tmp_path, address, "2", champion=first.version)
    store, into = open_store(address), tmp_path / "models"
    sync(store, "d351cbf", into)
    models.rollback(store, GROUP, NAME)
    sync(store, "d351cbf", into)
    assert (into / CURRENT / FLAT / "model.sav").read_bytes() == f"model of {NAME} 1".encode()


def test_a_set_that_is_right_already_is_left_in_place_and_one_that_is_not_is_made_anew(address, tmp_path):
    publish(tmp_path, address)
    store, into = open_store(address), tmp_path / "models"
    sync(store, "d351cbf", into)
    before = (into / CURRENT).readlink()
    sync(store, "d351cbf", into)
    assert (into / CURRENT).readlink() == before
    (into / CURRENT / FLAT / "model.sav").write_bytes(b"altered here")
    assert find_current(into) is None
    sync(store, "d351cbf", into)
    assert contents(into) == copy_of(store)


@pytest.mark.parametrize(
    "add",
    [
        lambda models, elsewhere: (models / FLAT / "added").write_bytes(b""),
        lambda models, elsewhere: (models / "added").mkdir(),
        lambda models, elsewhere: (models / "added").symlink_to(elsewhere),
        lambda models, elsewhere: (
            (models / FLAT).rename(elsewhere / "it") and (models / FLAT).symlink_to(elsewhere / "it")
        ),
    ],
    ids=["file", "empty folder", "link", "link in place of a folder"],
)
def test_what_an_estimator_would_list_beside_the_set_is_found_and_the_set_made_anew(directory, tmp_path, add):
    into, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    elsewhere.mkdir()
    sync(directory, "d351cbf", into)
    before = contents(into)
    add(into / CURRENT, elsewhere)
    assert find_current(into) is None
    sync(directory, "d351cbf", into)
    assert find_current(into) is not None
    assert contents(into) == before


def test_the_set_before_stays_for_who_just_found_it_and_older_ones_go(tmp_path):
    address, into = str(tmp_path / "store"), tmp_path / "models"
    champion, links = "", []
    for night in "1234":
        champion = publish(tmp_path, address, night, champion=champion).version
        sync(open_store(address), "d351cbf", into)
        links.append((into / CURRENT).resolve())
        assert sets(into) == sorted(link.parent.name for link in links[-2:])
    assert (links[-2] / FLAT / "model.sav").read_bytes() == f"model of {NAME} 3".encode()


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
    store, into = open_store(address), tmp_path / "models"
    sync(store, "d351cbf", into)
    store.objects.delete("index.json")
    with pytest.raises(StoreError, match=r"has lost its index\.json"):
        sync(store, "d351cbf", into)
    for key in store.objects.list("estimator/"):
        store.objects.delete(key)
    with pytest.raises(NothingServed, match="serves no model; what estimators have stays as it is"):
        sync(store, "d351cbf", into)
    assert set(contents(into)) == {FLAT}
    assert find_current(into) is not None


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
    assert not (tmp_path / "models" / CURRENT).exists()
    assert sets(tmp_path / "models") == []


def test_an_unknown_generation_is_refused_with_those_there_are(directory, tmp_path):
    with pytest.raises(WrongUsage, match="'v2'; there is d351cbf"):
        sync(directory, "v2", tmp_path / "models")


def test_models_of_another_runtime_than_the_estimators_are_refused(directory, tmp_path):
    sync(directory, "d351cbf", tmp_path / "models")
    with pytest.raises(WrongUsage, match="serves models of runtime current, not estimator-2022"):
        sync(directory, "d351cbf", tmp_path / "models", "estimator-2022")
    assert set(contents(tmp_path / "models")) == {FLAT}


def test_an_index_that_says_another_runtime_than_the_signed_provenance_is_refused(directory, tmp_path):
    into = tmp_path / "models"
    current = sync(directory, "d351cbf", into)
    directory.update_index(lambda index: msgspec.structs.replace(index, runtime="estimator-2022"))
    for folder in (into, tmp_path / "new"):
        with pytest.raises(DamagedModel, match=rf"{NAME}/.* made in runtime current, not in estimator-"):
            sync(directory, "d351cbf", folder, "estimator-2022")
    assert find_current(into) == current
    assert find_current(tmp_path / "new") is None


def test_what_somebody_else_put_there_is_left_as_it_is(directory, tmp_path):
    into = tmp_path / "models"
    (into / CURRENT).mkdir(parents=True)
    (into / CURRENT / "mine").write_text("precious")
    for folder in (into, into / CURRENT / "mine"):
        with pytest.raises(WrongUsage, match="was not made by sync"):
            sync(directory, "d351cbf", folder)
    assert (into / CURRENT / "mine").read_text() == "precious"


@pytest.mark.parametrize("leads_elsewhere", [True, False])
def test_sets_that_somebody_else_keeps_are_left_as_they_are(directory, tmp_path, leads_elsewhere):
    into, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    into.mkdir()
    (elsewhere / ".new.precious").mkdir(parents=True)
    if leads_elsewhere:
        (into / ".sets").symlink_to(elsewhere)
    else:
        (into / ".sets").write_text("precious")
    with pytest.raises(WrongUsage, match=r"\.sets was not made by sync"):
        sync(directory, "d351cbf", into)
    assert (elsewhere / ".new.precious").is_dir()
    assert (into / ".sets").is_symlink() or (into / ".sets").read_text() == "precious"


def test_what_else_lies_among_the_sets_is_left_alone_and_stands_in_nobodys_way(directory, tmp_path):
    into, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    sync(directory, "d351cbf", into)
    elsewhere.mkdir()
    (into / ".sets" / "file").write_text("")
    (into / ".sets" / "folder").mkdir()
    (into / ".sets" / ("0" * 16)).symlink_to(elsewhere)
    (into / ".sets" / ".new.file").write_text("")
    (into / ".sets" / ".new.link").symlink_to(elsewhere)
    for name in ("second", "third"):
        publish(tmp_path, directory.address, name=name)
        sync(directory, "d351cbf", into)
        assert flat_name(GROUP, name) in contents(into)
    assert len(sets(into)) == 2 + 3
    assert {"file", "folder", "0" * 16} < set(sets(into))
    assert elsewhere.is_dir()


@pytest.mark.parametrize("target", [CURRENT, "/", ".", "elsewhere", ".sets/gone/models"])
def test_a_link_that_leads_to_no_set_of_ours_is_none_in_use_and_gives_way(directory, tmp_path, target):
    into = tmp_path / "models"
    into.mkdir()
    (into / CURRENT).symlink_to(target)
    assert find_current(into) is None
    assert sync(directory, "d351cbf", into) == find_current(into)


@pytest.mark.parametrize("made_by_kubernetes", [True, False])
@pytest.mark.parametrize("store", ["nothing", "s3://no-keys/here"])
def test_until_there_is_a_set_nobody_can_mount_what_the_link_names(tmp_path, monkeypatch, store, made_by_kubernetes):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    into = tmp_path / "models"
    if made_by_kubernetes:
        (into / CURRENT).mkdir(parents=True)
    assert main(["sync", "--once", "--store", store, "--into", str(into)]) == 1
    # As the kubelet does it: where nothing can be found at a path, it makes a folder, or does not start the container.
    assert not (into / CURRENT).exists()
    with pytest.raises(FileExistsError):
        (into / CURRENT).mkdir()
    assert find_current(into) is None
    publish(tmp_path, "store")
    assert main(["sync", "--once", "--store", "store", "--into", str(into)]) == 0
    assert set(contents(into)) == {FLAT}


def test_a_set_that_is_there_stays_in_use_while_the_store_is_away(directory, tmp_path):
    into = tmp_path / "models"
    current = sync(directory, "d351cbf", into)
    assert main(["sync", "--once", "--store", str(tmp_path / "away"), "--into", str(into)]) == 1
    assert find_current(into) == current


def test_other_files_of_a_volume_are_left_alone(directory, tmp_path):
    (tmp_path / "models" / "lost+found").mkdir(parents=True)
    for _ in range(2):
        sync(directory, "d351cbf", tmp_path / "models")
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"lost+found", CURRENT, ".sets", ".lock"}


def test_all_that_is_made_lies_below_the_folder_and_others_may_read_it(directory, tmp_path):
    into = tmp_path / "models"
    sync(directory, "d351cbf", into)
    assert not (into / CURRENT).readlink().is_absolute()
    for path in (into / CURRENT).resolve().rglob("*"):
        assert path.stat().st_mode & 0o044 == 0o044
    for folder in (into, into / ".sets", (into / CURRENT).resolve().parent, (into / CURRENT).resolve()):
        assert folder.stat().st_mode & 0o011 == 0o011


def test_two_at_once_in_one_folder_do_not_undo_each_other(directory, tmp_path):
    into = tmp_path / "models"
    sync(directory, "d351cbf", into)
    publish(tmp_path, directory.address, name="other")
    with (into / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(NotWritable, match="another sync is at work"):
            sync(directory, "d351cbf", into)
    assert set(contents(into)) == {FLAT}
    sync(directory, "d351cbf", into)
    assert set(contents(into)) == {FLAT, flat_name(GROUP, "other")}


def test_a_folder_that_cannot_be_written_is_said(directory, tmp_path):
    (tmp_path / "file").write_text("")
    for into in (tmp_path / "file" / "models", tmp_path / (300 * "x")):
        with pytest.raises(NotWritable, match="cannot write"):
            sync(directory, "d351cbf", into)


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
        opened = os.open(folder / CURRENT, os.O_RDONLY)
        try:
            assert set(os.listdir(opened)) == {FLAT, flat_name(GROUP, "other")}  # noqa: PTH208 (an open folder)
            seen.add((folder / CURRENT).readlink())
        except FileNotFoundError:
            pass  # the set that was opened has been removed since: who starts now finds the new one
        finally:
            os.close(opened)
        time.sleep(0.001)
    assert os.waitstatus_to_exitcode(ended[1]) == DONE
    assert len(seen) > 2
