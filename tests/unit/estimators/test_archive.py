"""Later estimators: one archive an output type, fetched over HTTP, answered as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kepler_train.contract.errors import NotLoadable
from kepler_train.contract.models import ABS_POWER, DYN_POWER
from kepler_train.estimators import archive, d351cbf, zips
from tests.unit.estimators.models import (
    Adds,
    Keeps,
    Predicts,
    RunsCodeWhenUnpickled,
    linear,
    unscaled,
    write_model,
)

# Columns in one piece each, as in a data frame: what is added up in another order differs in the last digit.
ROWS = np.asfortranarray([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
NAMES = ("cache_miss", "cpu_cycles", "cpu_instr")
ROUNDING = 1e-12
"""Sums of the same products differ in their last digit by where in memory the rows lie."""


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def folder(tmp_path):
    scaler = unscaled()
    scaler.scale_ = np.array([2.0, 3.0, 7.0])
    return write_model(
        tmp_path / "spline", linear([1.0, -10.0, 100.0]), scaler=scaler, transformers=[Adds(0.5)], mae=2.0
    )


def ask(content, rows=ROWS, output_type=DYN_POWER, features=NAMES):
    with archive.estimator_of({output_type: content}) as estimator:
        return json.loads(estimator.answer(archive.request_for(output_type, features, rows)))["powers"]


def changed(content, **metadata):
    files = zips.unpack(content, "changed")
    return zips.pack(files | {"metadata.json": json.dumps(json.loads(files["metadata.json"]) | metadata).encode()})


def refusal(content, **options):
    with pytest.raises(NotLoadable) as refused:
        ask(content, **options)
    assert "http://127.0.0.1" in str(refused.value)
    return str(refused.value)


def test_a_model_answers_what_it_answers_to_d351cbf(folder):
    powers = d351cbf.load(folder).powers(ROWS)
    assert ask(archive.archived(files_of(folder), DYN_POWER)) == pytest.approx(powers, rel=ROUNDING)
    assert powers[1] > 0


def test_one_row_is_answered_by_a_bare_number(folder):
    content = archive.archived(files_of(folder), DYN_POWER)
    assert ask(content, ROWS[:1]) == d351cbf.load(folder).powers(ROWS[:1])[0]


def test_an_archive_has_an_output_type_and_no_scaler_and_features_without_curr(folder):
    files = zips.unpack(archive.archived(files_of(folder), ABS_POWER, model_name="CounterOnly-spline"), "it")
    assert json.loads(files["metadata.json"]) == {
        "model_name": "CounterOnly-spline",
        "model_class": "scikit",
        "model_file": "model.sav",
        "features": list(NAMES),
        "fe_files": ["scaler.pkl", "fe_0.pkl"],
        "mae": 2.0,
        "output_type": "AbsPower",
    }
    assert set(files) == {"metadata.json", "scaler.pkl", "fe_0.pkl", "model.sav"}


def test_the_same_model_gives_the_same_bytes(folder):
    assert archive.archived(files_of(folder), DYN_POWER) == archive.archived(files_of(folder), DYN_POWER)


def length_of_category(rows):
    return np.array([float(len(row[1])) for row in rows])


def test_the_architecture_is_joined_to_each_row(tmp_path):
    features = ("container_cpu_usage_seconds_total", "cpu_architecture")
    written = write_model(tmp_path / "m", Predicts(length_of_category), scaler=Keeps(), features=features)
    rows = np.array([[3.0, "Haswell"], [4.0, "Haswell"]], dtype=object)
    content = archive.archived(files_of(written), DYN_POWER)
    assert ask(content, rows, features=features) == [7.0, 7.0]
    request = json.loads(archive.request_for(DYN_POWER, features, rows))
    assert (request["system_features"], request["system_values"]) == (["cpu_architecture"], ["Haswell"])


def test_a_column_of_outputs_or_single_precision_is_answered_too(tmp_path):
    written = write_model(tmp_path / "m", Predicts(single_precision_column))
    assert ask(archive.archived(files_of(written), DYN_POWER)) == [1.0, 0.0, 10.0]


def single_precision_column(rows):
    return rows[:, :1].astype(np.float32)


def test_the_estimator_fetches_an_archive_once_and_keeps_nothing_of_it_on_disk(folder):
    archives = {DYN_POWER: archive.archived(files_of(folder), DYN_POWER)}
    with archive.estimator_of(archives) as estimator:
        first = estimator.answer(archive.request_for(DYN_POWER, NAMES, ROWS))
        assert list(estimator.folder.iterdir()) == []
        archives.clear()
        assert estimator.answer(archive.request_for(DYN_POWER, NAMES, ROWS)) == first


def test_each_output_type_has_its_own_model(folder, tmp_path):
    other = write_model(tmp_path / "node", linear([1.0, 1.0, 1.0], 100.0))
    archives = {
        DYN_POWER: archive.archived(files_of(folder), DYN_POWER),
        ABS_POWER: archive.archived(files_of(other), ABS_POWER),
    }
    with archive.estimator_of(archives) as estimator:
        pods = json.loads(estimator.answer(archive.request_for(DYN_POWER, NAMES, ROWS)))
        node = json.loads(estimator.answer(archive.request_for(ABS_POWER, NAMES, ROWS.sum(axis=0, keepdims=True))))
    assert pods == {"powers": pytest.approx(d351cbf.load(folder).powers(ROWS), rel=ROUNDING), "msg": ""}
    assert node == {"powers": pytest.approx(116.0), "msg": ""}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 1}, "unknown key 'version'"),
        ({"abs_model": {"a": 1}}, "object within"),
        ({"output_type": "DynComponentPower"}, "output_type 'DynComponentPower' is not DynPower or AbsPower"),
        ({"output_type": ["DynPower"]}, "output_type"),
        ({"output_type": "AbsPower"}, "is a model of AbsPower, asked for DynPower"),
        ({"model_class": "ratio"}, "scikit or keras"),
        ({"model_name": "../../x"}, "not a file in its folder"),
        ({"model_name": "."}, "not a file in its folder"),
        ({"model_file": "/etc/passwd"}, "not a file in its folder"),
        ({"fe_files": ["../x.pkl"]}, "not a file in its folder"),
        ({"fe_files": ["gone.pkl"]}, "gone.pkl"),
        ({"features": ["cache_miss", "gpu"]}, "needs gpu"),
        ({"x" * (2 << 20): 1}, "larger than"),
    ],
)
def test_metadata_that_end_the_estimator_are_refused_before_any_pickle_is_opened(tmp_path, change, said):
    trap = tmp_path / "opened"
    written = write_model(tmp_path / "m", RunsCodeWhenUnpickled(trap))
    assert said in refusal(changed(archive.archived(files_of(written), DYN_POWER), **change))
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe{}", b'{"a":' * 100_000, b"[" * 100_000])
def test_metadata_that_is_no_object_is_refused(folder, content):
    files = zips.unpack(archive.archived(files_of(folder), DYN_POWER), "it")
    assert "metadata.json" in refusal(zips.pack(files | {"metadata.json": content}))


def test_an_archive_without_metadata_is_refused(folder):
    files = zips.unpack(archive.archived(files_of(folder), DYN_POWER), "it")
    del files["metadata.json"]
    assert "metadata.json" in refusal(zips.pack(files))


def test_a_hostile_archive_leaves_nothing_on_disk(folder, tmp_path):
    with archive.estimator_of({DYN_POWER: zips.pack({"../escaped": b"x"})}) as estimator:
        with pytest.raises(NotLoadable, match=r"DynPower holds '\.\./escaped'"):
            estimator.answer(archive.request_for(DYN_POWER, NAMES, ROWS))
        assert list(estimator.folder.iterdir()) == []
        assert not (estimator.folder.parent / "escaped").exists()


@pytest.mark.parametrize("file", ["model.sav", "scaler.pkl", "fe_0.pkl"])
def test_a_file_that_does_not_load_is_refused(folder, file):
    files = zips.unpack(archive.archived(files_of(folder), DYN_POWER), "it")
    with pytest.raises(NotLoadable, match=f"{file}.*answer no powers"):
        ask(zips.pack(files | {file: files[file][:20]}))


def raises(_rows):
    raise ValueError("first line\nsecond line")


def not_a_number(rows):
    return np.full(len(rows), np.nan)


def one_for_all(_rows):
    return np.ones(1)


def two_columns(rows):
    return np.ones((len(rows), 2))


def words(rows):
    return np.array(["a"] * len(rows), dtype=object)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (raises, "fails for 3 rows: ValueError: first line; "),
        (not_a_number, "NaN"),
        (one_for_all, r"shape \(\) for 3 rows"),
        (two_columns, r"shape \(3, 2\) for 3 rows"),
        (words, "fails for 3 rows"),
    ],
)
def test_an_answer_that_is_not_one_number_a_row_is_refused(tmp_path, answer, said):
    written = write_model(tmp_path / "m", Predicts(answer))
    with pytest.raises(NotLoadable, match=said):
        ask(archive.archived(files_of(written), DYN_POWER))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"filter": "mae:10"}, "the estimator refuses all"),
        ({"trainer": "x"}, "and no others"),
        ({"values": []}, "without rows"),
        ({"output_type": "DynModelWeight"}, "asks for 'DynModelWeight'"),
        ({"output_type": "AbsPower"}, "no URL is configured for AbsPower"),
        ({"metrics": ["cache_miss"], "values": [[1.0]]}, "needs cpu_cycles, cpu_instr"),
        ({"values": [[1.0]]}, "do not fit its metrics"),
        ({"values": {"a": 1}}, "an object within the object"),
        ({"metrics": 5}, "no list of names"),
        ({"system_features": 5}, "system features are none"),
    ],
)
def test_a_request_that_the_estimator_does_not_answer_is_refused(folder, change, said):
    with archive.estimator_of({DYN_POWER: archive.archived(files_of(folder), DYN_POWER)}) as estimator:
        request = json.loads(archive.request_for(DYN_POWER, NAMES, ROWS)) | change
        with pytest.raises(NotLoadable, match=said):
            estimator.answer(json.dumps(request).encode())


@pytest.mark.parametrize("request_", [b"", b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_a_request_that_is_no_object_is_refused(folder, request_):
    with archive.estimator_of({}) as estimator, pytest.raises(NotLoadable, match="a request"):
        estimator.answer(request_)


def test_a_url_that_serves_nothing_is_refused(tmp_path):
    with archive.estimator_of({}) as estimator:
        estimator.urls = {DYN_POWER: "http://127.0.0.1:1/x.zip"}
        with pytest.raises(NotLoadable, match=r"cannot get http://127\.0\.0\.1:1/x\.zip"):
            estimator.answer(archive.request_for(DYN_POWER, NAMES, ROWS))
    archives = {DYN_POWER: b""}
    with archive.estimator_of(archives) as estimator:
        archives.clear()
        with pytest.raises(NotLoadable, match="answers 404"):
            estimator.answer(archive.request_for(DYN_POWER, NAMES, ROWS))


def test_a_download_without_end_is_cut_off(folder, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    assert "more than 1000 bytes" in refusal(archive.archived(files_of(folder), DYN_POWER))


def test_many_rows_get_what_each_gets_alone(folder, tmp_path):
    zips.write_files(zips.unpack(archive.archived(files_of(folder), DYN_POWER), "it"), tmp_path / "unpacked")
    model = archive.load(tmp_path / "unpacked", "it")
    rows = np.random.default_rng(0).uniform(0, 9, (20_000, 3))
    np.testing.assert_allclose(model.power_array(rows), d351cbf.load(folder).power_array(rows), rtol=1e-12)
    assert model.power_array(rows[:1]).shape == (1,)
    assert model.power_array(rows[:0]).shape == (0,)
