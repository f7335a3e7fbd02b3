"""Publishing, the same into a directory and a bucket."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from kepler_train.contract.errors import BrokenContract, DamagedModel, StoreError, WrongUsage
from kepler_train.contract.models import (
    CANDIDATE_FILE,
    METADATA_FILE,
    MODEL_FOLDER,
    PROVENANCE_FILE,
    SAFE_FILE,
    SCALER_FILE,
    Gate,
    checksums_of,
    flat_name,
    read_candidate,
    version_key,
)
from kepler_train.estimators.folder_estimator import FolderEstimator, request_for
from kepler_train.estimators.unix_socket import ask, listening
from kepler_train.publish import step
from kepler_train.store import open_store
from tests.unit.publish.candidates import GROUP, NAME, publish, rewrite_decision, write, write_real
from tests.unit.publish.serving import FOLDER, assert_serves, copy_of
from tests.unit.store import versions
from tests.unit.store.processes import DONE, REFUSED, outcomes

FLAT = flat_name(GROUP, NAME)


def everything(address: str) -> dict[str, bytes]:
    objects = open_store(address).objects
    keys = [key for folder in ("models/", "estimator/") for key in objects.list(folder)] + ["index.json"]
    return {key: stored.content for key in keys if (stored := objects.get(key))}


def test_the_first_model_of_a_name_is_served(address, tmp_path):
    published = publish(tmp_path, address)
    assert published.parent == ""
    assert published.version.startswith("20261121T020000Z-1111-")
    assert_serves(address, {FLAT: published.version})


def test_a_version_holds_the_candidates_files_and_the_scores(address, tmp_path):
    candidate, decision = write(tmp_path)
    published = step.run(candidate, decision, address)
    open_store(address).fetch_version(GROUP, NAME, published.version, tmp_path / "back")
    metadata = json.loads((tmp_path / "back" / METADATA_FILE).read_text())
    described = json.loads((candidate / MODEL_FOLDER / METADATA_FILE).read_text())
    assert metadata == {
        **described,
        "mae": versions.SCORE.mae_millijoules,
        "mse": versions.SCORE.mse_millijoules2,
        "mae_val": versions.SCORE.mae_millijoules,
        "mse_val": versions.SCORE.mse_millijoules2,
    }
    for file in ("model.sav", "hinges.pkl", SCALER_FILE):
        assert (tmp_path / "back" / file).read_bytes() == (candidate / MODEL_FOLDER / file).read_bytes()
    assert published.candidate.features == GROUP.features
    assert published.decision.candidate == versions.SCORE


def test_a_better_model_takes_the_place_of_the_champion(address, tmp_path):
    first = publish(tmp_path, address, "1")
    other = publish(tmp_path, address, "1", name="other")
    second = publish(tmp_path, address, "2", champion=first.version)
    assert second.parent == first.version
    assert second.version > first.version
    assert_serves(address, {FLAT: second.version, flat_name(GROUP, "other"): other.version})
    assert open_store(address).versions(GROUP, NAME) == (first.version, second.version)


def test_what_is_served_loads_in_an_estimator(address, tmp_path):
    step.run(*write_real(tmp_path), address)
    for folder, files in copy_of(open_store(address)).items():
        (tmp_path / "copy" / folder).mkdir(parents=True)
        for file, content in files.items():
            (tmp_path / "copy" / folder / file).write_bytes(content)
    with listening(FolderEstimator(tmp_path / "copy")) as socket:
        powers = ask(socket, request_for(GROUP.features, np.array([[10.0, 1000.0, 5000.0]])))
    assert powers == pytest.approx([10.0])


@pytest.mark.parametrize("file", [f"{MODEL_FOLDER}/model.sav", f"{MODEL_FOLDER}/extra.pkl", SAFE_FILE])
def test_files_that_were_not_judged_are_not_published(address, tmp_path, file):
    candidate, decision = write(tmp_path)
    (candidate / file).write_bytes(b"another model")
    with pytest.raises(BrokenContract, match="does not hold the files that were judged"):
        step.run(candidate, decision, address)
    assert_serves(address, {})


def test_a_description_that_was_changed_after_judging_is_not_published(address, tmp_path):
    candidate, decision = write(tmp_path)
    other = msgspec.structs.replace(read_candidate(candidate), idle_millijoules={"node": 1.0})
    other.write(candidate / CANDIDATE_FILE)
    with pytest.raises(BrokenContract, match="does not hold the files that were judged"):
        step.run(candidate, decision, address)
    assert_serves(address, {})


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")], ids=["folder", "dangling"])
def test_what_is_no_file_is_named_where_checksums_are_taken(tmp_path, make):
    candidate, _ = write(tmp_path)
    make(candidate / MODEL_FOLDER / "__pycache__")
    with pytest.raises(BrokenContract, match=r"model/__pycache__: no file of a model"):
        checksums_of(candidate)


def test_a_store_is_of_the_runtime_of_its_first_model(address, tmp_path):
    candidate, decision = write(tmp_path)
    made = msgspec.structs.replace(read_candidate(candidate), runtime_name="estimator-2022")
    made.write(candidate / CANDIDATE_FILE)
    rewrite_decision(decision, judged_files=checksums_of(candidate))
    published = step.run(candidate, decision, address)
    assert open_store(address).read_index().runtime == "estimator-2022"
    with pytest.raises(WrongUsage, match=r"serves models of runtime estimator-2022, not current; .* or another store"):
        publish(tmp_path, address, name="other")
    assert_serves(address, {FLAT: published.version})


def test_publishing_again_changes_nothing(address, tmp_path):
    candidate, decision = write(tmp_path)
    published = step.run(candidate, decision, address)
    before = everything(address)
    assert step.run(candidate, decision, address) == published
    assert everything(address) == before


def test_another_candidate_of_the_same_run_is_another_version(address, tmp_path):
    first = publish(tmp_path / "a", address)
    second = publish(tmp_path / "b", address, champion=first.version, model=b"trained again")
    assert second.version != first.version
    assert_serves(address, {FLAT: second.version})


def test_what_did_not_improve_is_refused_and_nothing_is_written(address, tmp_path):
    with pytest.raises(WrongUsage, match="not to be published"):
        publish(tmp_path, address, improved=False)
    assert everything(address) == {}


def test_a_decision_about_an_older_champion_is_refused_and_nothing_is_written(address, tmp_path):
    first = publish(tmp_path, address, "1")
    second = publish(tmp_path, address, "2", champion=first.version)
    before = everything(address)
    for champion in (first.version, "", "unheard-of"):
        with pytest.raises(StoreError, match=rf"is now {second.version}, no longer .*run again"):
            publish(tmp_path / f"late-{champion}", address, "3", champion=champion)
    assert everything(address) == before


def test_a_task_that_another_run_overtook_fails_nobody(address, tmp_path, caplog):
    first = publish(tmp_path, address, "1")
    second = step.run_among_others(*write(tmp_path, "2", champion=first.version), address)
    before = everything(address)
    assert step.run_among_others(*write(tmp_path, "3", champion=first.version), address) == ""
    assert f"not published: the champion of {GROUP.value}/{NAME} is now {second}" in caplog.text
    assert everything(address) == before
    with pytest.raises(WrongUsage, match="not to be published"):
        step.run_among_others(*write(tmp_path, "4", champion=second, improved=False), address)


def test_a_champion_that_is_replaced_before_its_folder_is_read_back_fails_nobody(address, tmp_path, monkeypatch):
    derive = step.dialects.derive

    def derive_and_be_overtaken(store):
        monkeypatch.setattr(step.dialects, "derive", derive)
        publish(tmp_path, address, "2", champion=store.read_index().served(GROUP, NAME).version)
        return derive(store)

    monkeypatch.setattr(step.dialects, "derive", derive_and_be_overtaken)
    first = publish(tmp_path, address, "1")
    second = open_store(address).read_index().served(GROUP, NAME).version
    assert second != first.version
    assert_serves(address, {FLAT: second})


def test_a_decision_about_a_champion_that_is_gone_is_refused(address, tmp_path):
    with pytest.raises(StoreError, match="is now none, no longer old"):
        publish(tmp_path, address, champion="old")


def test_a_damaged_champion_can_be_replaced(address, tmp_path):
    first = publish(tmp_path, address, "1")
    objects = open_store(address).objects
    objects.delete(version_key(GROUP, NAME, first.version, "model.sav"))
    second = publish(tmp_path, address, "2", champion=first.version)
    assert_serves(address, {FLAT: second.version})


@pytest.mark.parametrize("lost", [PROVENANCE_FILE, "model.sav"])
def test_a_damaged_model_of_another_name_hinders_nobody(address, tmp_path, lost, caplog):
    old = publish(tmp_path, address, "1", name="other")
    new = publish(tmp_path, address, "2", name="other", champion=old.version)
    store = open_store(address)
    store.objects.delete(version_key(GROUP, "other", new.version, lost))
    store.objects.delete(f"{FOLDER}{flat_name(GROUP, 'other')}/SHA256SUMS")
    published = publish(tmp_path, address, "1")
    assert store.read_index().served(GROUP, NAME).version == published.version
    kept = copy_of(store)[flat_name(GROUP, "other")]
    assert METADATA_FILE in kept
    assert kept["model.sav"] == b"model of other 2"
    assert f"{lost} in {store.address} is missing" in caplog.text


@pytest.mark.parametrize("file", ["model.sav", SCALER_FILE, METADATA_FILE, "hinges.pkl"])
def test_a_candidate_without_one_of_its_files_is_refused(address, tmp_path, file):
    candidate, decision = write(tmp_path)
    (candidate / MODEL_FOLDER / file).unlink()
    with pytest.raises(BrokenContract, match="train again"):
        step.run(candidate, decision, address)
    assert everything(address) == {}


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "[]",
        "{}",
        '{"model_name": "spline"}',
        {"version": 1},
        {"model_name": "other"},
        {"model_file": "../model.sav"},
        {"fe_files": ["../../x"]},
        {"features": ["curr_cpu_time"]},
        {"model_class": "keras"},
        {"model_class": "onnx"},
        {"mae": {"val": 1}},
    ],
)
def test_metadata_that_an_estimator_would_drop_are_refused(address, tmp_path, metadata):
    candidate, decision = write(tmp_path)
    file = candidate / MODEL_FOLDER / METADATA_FILE
    changed = metadata if isinstance(metadata, str) else json.dumps({**json.loads(file.read_text()), **metadata})
    file.write_text(changed)
    with pytest.raises(BrokenContract, match="train again"):
        step.run(candidate, decision, address)
    assert everything(address) == {}


def test_a_link_or_a_folder_among_the_files_is_refused(address, tmp_path):
    candidate, decision = write(tmp_path)
    (candidate / MODEL_FOLDER / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(BrokenContract, match="passwords, which is no file of a model"):
        step.run(candidate, decision, address)


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": "another"},
        {"model_name": "another"},
        {"candidate": None},
        {"candidate": msgspec.structs.replace(versions.SCORE, mae_millijoules=math.inf)},
        {"gates": (Gate("loads", False, "it does not"),)},
    ],
)
def test_a_decision_that_does_not_fit_is_refused(address, tmp_path, changes):
    candidate, decision = write(tmp_path)
    rewrite_decision(decision, **changes)
    with pytest.raises(BrokenContract):
        step.run(candidate, decision, address)
    assert everything(address) == {}


def test_a_version_that_changes_on_the_way_is_not_served(address, tmp_path, monkeypatch):
    """What is read back differs from what was written: the disk or the network lied."""
    first = publish(tmp_path, address, "1")
    candidate, decision = write(tmp_path, "2", champion=first.version)
    objects = type(open_store(address).objects)
    put_if = objects.put_if

    def lie(self, key: str, content: bytes, expected: str | None) -> bool:
        return put_if(self, key, content[:-1] if key.endswith("model.sav") else content, expected)

    monkeypatch.setattr(objects, "put_if", lie)
    with pytest.raises(DamagedModel, match=r"model\.sav.*differs from its checksum"):
        step.run(candidate, decision, address)
    assert_serves(address, {FLAT: first.version})


def test_twenty_who_publish_at_once_lose_nothing(address, tmp_path):
    names = [f"model-{number}" for number in range(20)]
    written = {name: write(tmp_path, name=name) for name in names}
    works = [lambda name=name: step.run(*written[name], address) for name in names]
    assert outcomes(works) == [DONE] * 20
    served = open_store(address).read_index().models[GROUP.value]
    assert set(served) == set(names)
    assert_serves(address, {flat_name(GROUP, name): entry.version for name, entry in served.items()})


def test_of_twenty_who_replace_the_same_champion_one_wins_and_the_others_say_so(address, tmp_path):
    first = publish(tmp_path, address, "1")
    written = [write(tmp_path / str(n), "2", champion=first.version, model=str(n).encode()) for n in range(20)]
    works = [lambda paths=paths: step.run(*paths, address) for paths in written]
    results = outcomes(works, refusals=StoreError)
    assert results.count(DONE) == 1
    assert results.count(REFUSED) == 19
    store = open_store(address)
    served = store.read_index().served(GROUP, NAME).version
    assert_serves(address, {FLAT: served})
    model = copy_of(store)[FLAT]["model.sav"]
    assert int(model) == results.index(DONE)


@pytest.mark.parametrize(
    "name", ["../escaped", "/etc/escaped", "a/b", "a\\b", "..", ".", ".hidden", "", "a\0b", "x" * 300]
)
def test_a_model_name_that_leads_elsewhere_is_refused_and_nothing_is_written(address, tmp_path, name):
    candidate, decision = write(tmp_path)
    msgspec.structs.replace(read_candidate(candidate), model_name=name).write(candidate / CANDIDATE_FILE)
    metadata = candidate / MODEL_FOLDER / METADATA_FILE
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "model_name": name}))
    rewrite_decision(decision, model_name=name, judged_files=checksums_of(candidate))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((WrongUsage, BrokenContract)):
        step.run(candidate, decision, address)
    assert everything(address) == {}
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and path.name != "store"] == []


@pytest.mark.parametrize("file", ["DynPower.zip", "AbsPower.zip", PROVENANCE_FILE])
def test_a_file_in_the_place_of_one_of_the_versions_own_is_refused(address, tmp_path, file):
    candidate, decision = write(tmp_path)
    (candidate / MODEL_FOLDER / file).write_bytes(b"not ours")
    rewrite_decision(decision, judged_files=checksums_of(candidate))
    with pytest.raises(BrokenContract, match=f"{file}, which is no file of a model"):
        step.run(candidate, decision, address)
    assert everything(address) == {}
