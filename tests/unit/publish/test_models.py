"""What a person asks of a store: list, show, verify, and the way back."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from hashlib import sha256

import msgspec
import pytest

from kepler_train.cli import main
from kepler_train.contract.errors import DamagedModel, NothingServed, StoreError, WrongUsage
from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.models import (
    CANDIDATE_FILE,
    PROVENANCE_FILE,
    checksums_of,
    flat_name,
    read_candidate,
    version_key,
)
from kepler_train.estimators.model_folder import SUMS_FILE
from kepler_train.publish import models, step
from kepler_train.store import open_store
from kepler_train.store.objects import LARGEST_FILE_BYTES
from tests.unit.publish.candidates import GROUP, NAME, publish, rewrite_decision, write
from tests.unit.publish.serving import ARCHIVES, FOLDER, assert_serves, copy_of
from tests.unit.store import versions

FLAT = flat_name(GROUP, NAME)


def test_nothing_is_served_by_a_new_store(address):
    assert models.list_served(open_store(address)) == ()
    with pytest.raises(NothingServed, match="serves no model to verify"):
        models.verify(open_store(address))


def test_served_models_are_listed_with_version_date_and_score(address, tmp_path):
    first = publish(tmp_path, address, "1")
    second = publish(tmp_path, address, "2", champion=first.version)
    other = publish(tmp_path, address, name="another")
    assert models.list_served(open_store(address)) == tuple(
        models.ServedModel(GROUP, made.model_name, made.version, made.published, versions.SCORE, made.signed_by)
        for made in (other, second)
    )


def test_a_damaged_provenance_is_listed_as_such(address, tmp_path):
    first = publish(tmp_path, address)
    open_store(address).objects.delete(version_key(GROUP, NAME, first.version, PROVENANCE_FILE))
    (listed,) = models.list_served(open_store(address))
    assert (listed.version, listed.score) == (first.version, None)
    assert "provenance.json" in listed.damage


def test_the_served_version_or_any_other_is_shown(address, tmp_path):
    first = publish(tmp_path, address, "1")
    second = publish(tmp_path, address, "2", champion=first.version)
    store = open_store(address)
    assert models.show(store, GROUP, NAME) == second
    assert models.show(store, GROUP, NAME, first.version) == first
    with pytest.raises(StoreError, match="no version 9"):
        models.show(store, GROUP, NAME, "9")
    with pytest.raises(StoreError, match="serves no model BPFOnly/none"):
        models.show(store, FeatureGroup.BPF_ONLY, "none")


@pytest.mark.parametrize(
    ("file", "content"),
    [("model.sav", b"bit flipped"), ("scaler.pkl", None), ("DynPower.zip", b"bit flipped")],
)
def test_verifying_names_what_is_damaged_and_nothing_else(address, tmp_path, file, content):
    published = publish(tmp_path, address)
    publish(tmp_path, address, name="other")
    store = open_store(address)
    assert [model.damage for model in models.verify(store)] == ["", ""]
    folder = version_key(GROUP, NAME, published.version)
    store.objects.delete(folder + file)
    if content:
        store.objects.put_if(folder + file, content, None)
    other, damaged = models.verify(store)
    assert other.damage == ""
    assert folder + file in damaged.damage


@pytest.mark.parametrize("lost", [f"{FOLDER}{FLAT}/scaler.pkl", f"{ARCHIVES}DynPower/{GROUP.value}.zip"])
def test_verifying_derives_what_estimators_pull_anew(address, tmp_path, lost, caplog):
    published = publish(tmp_path, address)
    store = open_store(address)
    store.objects.delete(lost)
    assert [model.damage for model in models.verify(store)] == [""]
    assert "was derived anew" in caplog.text
    assert_serves(address, {FLAT: published.version})


def put(store, key, content):
    """Write, whatever is there."""
    store.objects.delete(key)
    assert store.objects.put_if(key, content, None)


def tamper(store, name=FLAT, file="model.sav", content=b"not what was published"):
    """Alter a file that estimators pull, and the list of checksums beside it."""
    put(store, f"{FOLDER}{name}/{file}", content)
    files = {key: value for key, value in copy_of(store)[name].items() if key != SUMS_FILE}
    sums = "".join(f"{sha256(content).hexdigest()}  {key}\n" for key, content in files.items())
    put(store, f"{FOLDER}{name}/{SUMS_FILE}", sums.encode())


@pytest.mark.parametrize("file", ["model.sav", "metadata.json", "extra.pkl"])
def test_what_was_altered_with_its_checksums_is_derived_anew(address, tmp_path, file, caplog):
    published = publish(tmp_path, address)
    store = open_store(address)
    tamper(store, file=file)
    step.catch_up(address)
    assert_serves(address, {FLAT: published.version})
    tamper(store, file=file)
    assert [model.damage for model in models.verify(store)] == [""]
    assert "was derived anew" in caplog.text
    assert_serves(address, {FLAT: published.version})


def test_what_was_altered_with_its_checksums_is_damage_to_who_may_not_write(tmp_path, monkeypatch):
    address = str(tmp_path / "store")
    publish(tmp_path, address)
    store = open_store(address)
    tamper(store)

    def refuse(*_):
        raise StoreError("no right to write")

    monkeypatch.setattr(type(store.objects), "exclusive", refuse)
    (model,) = models.verify(store)
    assert f"{FOLDER}{FLAT}/model.sav in {address} is not that of version {model.version}" in model.damage


def test_a_folder_of_two_versions_that_an_overtaken_publisher_leaves_is_derived_anew(tmp_path, monkeypatch):
    """One publisher sleeps for longer than its lease, before the last file; the other is killed before its last."""
    address = str(tmp_path / "store")
    first = publish(tmp_path, address, "1").version
    objects = type(open_store(address).objects)
    put_if, asleep = objects.put_if, []

    class Killed(BaseException):
        pass

    def interrupted(self, key, content, expected):
        if key == f"{FOLDER}{FLAT}/metadata.json":
            asleep.append(key)
            if len(asleep) == 2:
                raise Killed
            second = open_store(address).read_index().served(GROUP, NAME).version
            with pytest.raises(Killed):
                publish(tmp_path, address, "3", champion=second)
            put_if(self, key, content, expected)
            raise Killed
        return put_if(self, key, content, expected)

    candidate, decision = write(tmp_path, "2", champion=first)
    rewrite_decision(decision, candidate=msgspec.structs.replace(versions.SCORE, mae_millijoules=1.5))
    with monkeypatch.context() as overtaken:
        overtaken.setattr(objects, "exclusive", lambda _: nullcontext())
        overtaken.setattr(objects, "put_if", interrupted)
        with pytest.raises(Killed):
            step.run(candidate, decision, address)
    store = open_store(address)
    mixed = copy_of(store)[FLAT]
    assert mixed["model.sav"] == b"model of spline 3"
    assert json.loads(mixed["metadata.json"])["mae"] == 1.5
    step.catch_up(address)
    assert_serves(address, {FLAT: store.read_index().served(GROUP, NAME).version})


@pytest.mark.parametrize(
    "file", [f"{FOLDER}{FLAT}/model.sav", f"{FOLDER}{FLAT}/{SUMS_FILE}", f"{ARCHIVES}DynPower/{GROUP.value}.zip"]
)
def test_what_is_too_large_to_be_read_is_deleted_and_derived_anew(tmp_path, file):
    address = str(tmp_path / "store")
    first = publish(tmp_path, address, "1")
    os.truncate(tmp_path / "store" / file, LARGEST_FILE_BYTES + 1)
    step.catch_up(address)
    assert_serves(address, {FLAT: first.version})
    os.truncate(tmp_path / "store" / file, LARGEST_FILE_BYTES + 1)
    second = publish(tmp_path, address, "2", champion=first.version)
    assert_serves(address, {FLAT: second.version})
    os.truncate(tmp_path / "store" / file, LARGEST_FILE_BYTES + 1)
    models.rollback(open_store(address), GROUP, NAME)
    assert_serves(address, {FLAT: first.version})


def test_a_model_of_another_runtime_than_the_index_says_is_not_given_to_estimators(address, tmp_path, caplog):
    publish(tmp_path, address)
    store = open_store(address)
    store.update_index(lambda index: msgspec.structs.replace(index, runtime="estimator-2022"))
    keys = [key for folder in (f"{FOLDER}{FLAT}/", ARCHIVES) for key in store.objects.list(folder)]
    for key in keys:
        store.objects.delete(key)
    step.catch_up(address)
    assert store.objects.list("estimator/") == ()
    assert "is of runtime current, and the index says estimator-2022" in caplog.text
    (model,) = models.verify(store)
    assert "is of runtime current" in model.damage


def test_verifying_derives_anew_where_estimators_are_given_another_version(address, tmp_path):
    first = publish(tmp_path, address, "1")
    publish(tmp_path, address, "2", champion=first.version)
    store = open_store(address)
    before = copy_of(store)[FLAT]
    models.rollback(store, GROUP, NAME)
    for file, content in before.items():
        store.objects.delete(f"{FOLDER}{FLAT}/{file}")
        store.objects.put_if(f"{FOLDER}{FLAT}/{file}", content, None)
    assert [model.damage for model in models.verify(store)] == [""]
    assert_serves(address, {FLAT: first.version})


def test_who_may_not_write_verifies_and_is_told_what_lags_behind(address, tmp_path, monkeypatch):
    publish(tmp_path, address)
    store = open_store(address)

    def refuse(*_):
        raise StoreError("no right to write")

    for method in ("exclusive", "put_if", "delete"):
        monkeypatch.setattr(type(store.objects), method, refuse)
    assert [model.damage for model in models.verify(store)] == [""]


def test_what_lags_behind_is_damage_where_it_cannot_be_derived_anew(tmp_path, monkeypatch, caplog):
    address = str(tmp_path / "store")
    publish(tmp_path, address)
    store = open_store(address)
    key = f"{ARCHIVES}DynPower/{GROUP.value}.zip"
    store.objects.delete(key)

    def refuse(*_):
        raise StoreError("no right to write")

    monkeypatch.setattr(type(store.objects), "exclusive", refuse)
    (model,) = models.verify(store)
    assert f"{key} in {address} is missing" in model.damage
    assert "not derived anew: no right to write" in caplog.text


def test_going_back_serves_the_version_before_and_then_the_one_before_that(address, tmp_path):
    made = [publish(tmp_path, address, "1")]
    for run in "23":
        made.append(publish(tmp_path, address, run, champion=made[-1].version))
    store = open_store(address)
    for before in (made[1], made[0]):
        assert models.rollback(store, GROUP, NAME).version == before.version
        assert_serves(address, {FLAT: before.version})
    with pytest.raises(StoreError, match="is the first version"):
        models.rollback(store, GROUP, NAME)
    models.rollback(store, GROUP, NAME, made[2].version)
    assert_serves(address, {FLAT: made[2].version})


def test_a_version_made_with_other_libraries_is_not_gone_back_to_unless_that_is_meant(tmp_path):
    address = str(tmp_path / "store")
    made = [""]
    for run, sklearn in (("1", "1.8.0"), ("2", "1.9.0"), ("3", "1.9.1")):
        candidate, decision = write(tmp_path, run, champion=made[-1])
        runtime = {"python": "3.11.7", "sklearn": sklearn, "numpy": "2.4.0"}
        msgspec.structs.replace(read_candidate(candidate), runtime=runtime).write(candidate / CANDIDATE_FILE)
        rewrite_decision(decision, judged_files=checksums_of(candidate))
        made.append(step.run(candidate, decision, address).version)
    store = open_store(address)
    models.rollback(store, GROUP, NAME)
    with pytest.raises(WrongUsage, match=r"made with sklearn 1\.8\.0 \(now 1\.9\.0\), .* add --force"):
        models.rollback(store, GROUP, NAME)
    assert_serves(address, {FLAT: made[2]})
    assert main(["models", "rollback", f"{GROUP.value}/{NAME}", "--store", address]) == 2
    assert main(["models", "rollback", f"{GROUP.value}/{NAME}", "--store", address, "--force"]) == 0
    assert_serves(address, {FLAT: made[1]})


def test_after_going_back_the_next_model_is_measured_against_what_is_served(address, tmp_path):
    first = publish(tmp_path, address, "1")
    second = publish(tmp_path, address, "2", champion=first.version)
    models.rollback(open_store(address), GROUP, NAME)
    with pytest.raises(StoreError, match="run again"):
        publish(tmp_path, address, "3", champion=second.version)
    fourth = publish(tmp_path, address, "4", champion=first.version)
    assert_serves(address, {FLAT: fourth.version})


def test_going_back_to_a_version_that_is_damaged_or_not_there_changes_nothing(address, tmp_path):
    first = publish(tmp_path, address, "1")
    second = publish(tmp_path, address, "2", champion=first.version)
    store = open_store(address)
    store.objects.delete(version_key(GROUP, NAME, first.version, "model.sav"))
    with pytest.raises(DamagedModel, match=r"model\.sav"):
        models.rollback(store, GROUP, NAME)
    with pytest.raises(StoreError, match="no version 7"):
        models.rollback(store, GROUP, NAME, "7")
    assert_serves(address, {FLAT: second.version})


def test_going_back_from_a_champion_that_is_damaged_names_the_versions_there_are(address, tmp_path):
    first = publish(tmp_path, address, "1")
    second = publish(tmp_path, address, "2", champion=first.version)
    store = open_store(address)
    store.objects.delete(version_key(GROUP, NAME, second.version, PROVENANCE_FILE))
    with pytest.raises(DamagedModel, match=f"name the version to go back to: {first.version}$"):
        models.rollback(store, GROUP, NAME)
    models.rollback(store, GROUP, NAME, first.version)
    assert_serves(address, {FLAT: first.version})


def test_what_others_put_beside_the_models_is_left_or_replaced_but_stops_nothing(address, tmp_path):
    first = publish(tmp_path, address, "1")
    store = open_store(address)
    store.objects.put_if(f"{FOLDER}README", b"not a model", None)
    store.objects.put_if(f"{FOLDER}stranger/metadata.json", b"{}", None)
    store.objects.put_if(f"{FOLDER}{FLAT}/extra.pkl", b"extra", None)
    second = publish(tmp_path, address, "2", champion=first.version)
    store.objects.delete(f"{FOLDER}README")
    assert_serves(address, {FLAT: second.version})
