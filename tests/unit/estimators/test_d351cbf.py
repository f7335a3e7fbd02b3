from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kepler_train.contract.errors import NotLoadable
from kepler_train.estimators import d351cbf, model_files
from tests.unit.estimators.models import (
    COUNTERS,
    Adds,
    Keeps,
    Predicts,
    RunsCodeWhenUnpickled,
    change_metadata,
    linear,
    unscaled,
    write_model,
)

ROWS = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])


def first_column(rows):
    return np.array(rows[:, 0], dtype=float)


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "spline", linear([1.0, 10.0, 100.0]))


def test_a_whole_model_answers_one_power_per_pod(folder):
    model = d351cbf.load(folder)
    assert model.metadata.features == COUNTERS
    assert model.powers(ROWS) == pytest.approx([321.0, 0.0, 10.0])
    assert json.loads(json.dumps(model.powers(ROWS[:1]))) == pytest.approx([321.0])
    assert len(model.powers(np.tile(ROWS, (1000, 1))[:1000])) == 1000


def test_scaler_then_each_transformer_in_order_then_the_model(tmp_path):
    scaler = unscaled()
    scaler.scale_ = np.array([2.0, 2.0, 2.0])
    written = write_model(tmp_path / "m", Predicts(first_column), scaler=scaler, transformers=[Adds(1), Adds(10)])
    change_metadata(written, fe_files=["fe_1.pkl", "fe_0.pkl"])
    assert d351cbf.load(written).powers(ROWS) == [1 / 2 + 11, 11.0, 16.0]


def test_negative_powers_become_zero(tmp_path):
    model = d351cbf.load(write_model(tmp_path / "m", linear([-1.0, 0.0, 0.0])))
    assert model.powers(ROWS) == [0.0, 0.0, 0.0]


def length_of_category(rows):
    return np.array([float(len(row[1])) for row in rows])


def test_a_category_arrives_as_an_object_array(tmp_path):
    features = ("curr_cpu_time", "cpu_architecture")
    written = write_model(tmp_path / "m", Predicts(length_of_category), scaler=Keeps(), features=features)
    assert d351cbf.load(written).powers(np.array([[3.0, "Haswell"]], dtype=object)) == [7.0]


def test_many_rows_get_what_each_gets_alone(folder):
    rows = np.random.default_rng(0).uniform(0, 9, (20_000, 3))
    model = d351cbf.load(folder)
    np.testing.assert_allclose(model.power_array(rows), rows @ [1, 10, 100])
    assert model.power_array(rows[:0]).shape == (0,)


@pytest.mark.parametrize("key", ["output_type", "version", "provenance"])
def test_a_key_the_estimator_does_not_know_drops_the_model(folder, key):
    change_metadata(folder, **{key: "x"})
    with pytest.raises(NotLoadable, match=f"unknown key '{key}'.*go on without this model"):
        d351cbf.load(folder)


@pytest.mark.parametrize("nested", [{}, {"a": 1}, [{"a": 1}], [[{}]]])
def test_an_object_within_the_metadata_drops_the_model(folder, nested):
    change_metadata(folder, abs_model=nested)
    with pytest.raises(NotLoadable, match="object within"):
        d351cbf.load(folder)


@pytest.mark.parametrize("key", ["model_name", "model_class", "model_file", "features"])
def test_a_missing_key_drops_the_model(folder, key):
    content = json.loads((folder / "metadata.json").read_text())
    del content[key]
    (folder / "metadata.json").write_text(json.dumps(content))
    with pytest.raises(NotLoadable, match=f"lacks {key}"):
        d351cbf.load(folder)


def test_fe_files_and_errors_are_optional(folder):
    content = json.loads((folder / "metadata.json").read_text())
    del content["fe_files"]
    (folder / "metadata.json").write_text(json.dumps(content))
    assert d351cbf.load(folder).powers(ROWS)
    change_metadata(folder, **dict.fromkeys(model_files.ERROR_KEYS, 1.5), abs_model="other")
    assert d351cbf.load(folder).metadata.errors["mae"] == 1.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_class": "ratio"}, "scikit or keras"),
        ({"model_class": ["scikit"]}, "scikit or keras"),
        ({"features": "curr_cpu_time"}, "not made of names"),
        ({"features": []}, "empty"),
        ({"model_file": 7}, "not made of names"),
        ({"model_file": "../other/model.sav"}, "not a file in its folder"),
        ({"fe_files": [".."]}, "not a file in its folder"),
        ({"mae": "small"}, "would not start"),
        ({"mae": True}, "would not start"),
        ({"mse": math.nan}, "would not start"),
        ({"mse": 10**400}, "would not start"),
    ],
)
def test_metadata_of_the_wrong_form_is_refused(folder, change, said):
    change_metadata(folder, **change)
    with pytest.raises(NotLoadable, match=said):
        d351cbf.load(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"x"', b"\xff\xfe{}", b"[" * 100_000, b'{"a":' * 100_000, b" " * (2 << 20)]
)
def test_metadata_that_is_no_object_is_refused(folder, content):
    (folder / "metadata.json").write_bytes(content)
    with pytest.raises(NotLoadable, match=r"metadata\.json"):
        d351cbf.load(folder)


def test_the_folders_name_must_be_the_models(tmp_path, folder):
    moved = folder.rename(tmp_path / "model")
    with pytest.raises(NotLoadable, match="not the folder's name 'model'"):
        d351cbf.load(moved)
    assert d351cbf.load(moved, served_as="spline").powers(ROWS)
    with pytest.raises(NotLoadable, match="not the folder's name"):
        d351cbf.load(moved, served_as="CounterOnly-spline")


@pytest.mark.parametrize("file", ["scaler.pkl", "model.sav", "fe_0.pkl"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "unknown class"])
def test_a_file_that_does_not_load_silences_the_node(tmp_path, file, damage):
    written = write_model(tmp_path / "m", linear([1, 1, 1]), transformers=[Adds(0)])
    content = (written / file).read_bytes()
    if damage == "missing":
        (written / file).unlink()
    else:
        changed = {"empty": b"", "cut": content[: len(content) // 2], "unknown class": b"cnowhere\nNothing\n."}
        (written / file).write_bytes(changed[damage])
    with pytest.raises(NotLoadable, match=f"{file}.*answer no powers"):
        d351cbf.load(written)


def test_metadata_is_judged_before_any_pickle_is_opened(tmp_path):
    trap = tmp_path / "opened"
    written = write_model(tmp_path / "m", RunsCodeWhenUnpickled(trap), output_type="DynPower")
    with pytest.raises(NotLoadable):
        d351cbf.load(written)
    assert not trap.exists()


def raises(_rows):
    raise ValueError("first line\nsecond line")


def column(rows):
    return np.ones((len(rows), 1))


def single_precision(rows):
    return np.ones(len(rows), dtype=np.float32)


def whole_numbers(rows):
    return np.ones(len(rows), dtype=np.int64)


def plain_list(rows):
    return [1.0] * len(rows)


def not_a_number(rows):
    return np.full(len(rows), np.nan)


def infinite(rows):
    return np.full(len(rows), np.inf)


def one_for_all(_rows):
    return np.ones(1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (raises, "fails for 3 pods: ValueError: first line; "),
        (column, r"float64 of shape \(3, 1\)"),
        (single_precision, "float32"),
        (whole_numbers, "int64"),
        (plain_list, "answer no powers"),
        (not_a_number, "NaN or infinity"),
        (infinite, "NaN or infinity"),
        (one_for_all, "1 powers for 3 pods"),
    ],
)
def test_an_answer_the_estimator_cannot_give_is_refused(tmp_path, answer, said):
    model = d351cbf.load(write_model(tmp_path / "m", Predicts(answer)))
    for ask in (model.powers, model.power_array):
        with pytest.raises(NotLoadable, match=said):
            ask(ROWS)


def test_a_model_without_predict_is_refused_when_asked(tmp_path):
    model = d351cbf.load(write_model(tmp_path / "m", {"weights": [1]}))
    with pytest.raises(NotLoadable, match="no attribute 'predict'"):
        model.powers(ROWS)


KEYS = st.sampled_from([*d351cbf.REQUIRED_KEYS, *model_files.OPTIONAL_KEYS])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@settings(max_examples=40, deadline=None)
@given(content=st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=2)))
def test_whatever_metadata_says_nothing_but_a_refusal_comes_of_a_folder_without_files(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("hostile") / "m"
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps(content | {"model_name": "m"}))
    with pytest.raises(NotLoadable):
        d351cbf.load(folder)


def test_the_smallest_error_among_models_whose_features_are_asked_wins(tmp_path):
    write_model(tmp_path / "good", linear([1, 1, 1]), mae=2.0)
    write_model(tmp_path / "better", linear([1, 1, 1]), mae=1.0)
    write_model(tmp_path / "best-of-others", linear([1]), features=("curr_cpu_time",), mae=0.1)
    write_model(tmp_path / "no-error", linear([1, 1, 1]))
    assert d351cbf.select(d351cbf.rank(tmp_path), COUNTERS).model_name == "better"
    assert d351cbf.select(d351cbf.rank(tmp_path), (*COUNTERS, "curr_cpu_time")).model_name == "best-of-others"
    with pytest.raises(NotLoadable, match="none of 4 models"):
        d351cbf.select(d351cbf.rank(tmp_path), ["curr_bytes_read"])


def test_selection_looks_at_the_error_keys_it_is_given(tmp_path):
    write_model(tmp_path / "a", linear([1, 1, 1]), mae=1.0, mse=5.0)
    write_model(tmp_path / "b", linear([1, 1, 1]), mae=2.0, mse=4.0)
    assert d351cbf.select(d351cbf.rank(tmp_path, ["mse"]), COUNTERS).model_name == "b"
    assert d351cbf.select(d351cbf.rank(tmp_path, ["mae", "mse"]), COUNTERS).model_name == "a"


def test_a_broken_model_still_wins_by_its_metadata(tmp_path):
    broken = write_model(tmp_path / "broken", linear([1, 1, 1]), mae=0.5)
    write_model(tmp_path / "whole", linear([1, 1, 1]), mae=1.0)
    (broken / "scaler.pkl").unlink()
    assert d351cbf.select(d351cbf.rank(tmp_path), COUNTERS).model_name == broken.name


def test_a_model_with_refused_metadata_is_not_chosen(tmp_path):
    write_model(tmp_path / "dropped", linear([1, 1, 1]), mae=0.5, output_type="DynPower")
    write_model(tmp_path / "whole", linear([1, 1, 1]), mae=1.0)
    (tmp_path / "a file").touch()
    assert d351cbf.select(d351cbf.rank(tmp_path), COUNTERS).model_name == "whole"


@pytest.mark.parametrize(
    "change",
    [{"model_name": "other"}, {"model_file": ""}, {"model_file": "../whole/model.sav"}, {"features": []}],
)
def test_a_model_that_could_never_answer_still_wins_by_its_metadata(tmp_path, change):
    change_metadata(write_model(tmp_path / "broken", linear([1, 1, 1]), mae=0.5), **change)
    write_model(tmp_path / "whole", linear([1, 1, 1]), mae=1.0)
    assert d351cbf.select(d351cbf.rank(tmp_path), COUNTERS).model_name == "broken"


@pytest.mark.parametrize("features", [[3], ["curr_cpu_instr", None], [["curr_cpu_instr"]]])
def test_features_that_no_request_has_are_never_chosen(tmp_path, features):
    write_model(tmp_path / "odd", linear([1]), features=features, mae=0.5)
    write_model(tmp_path / "whole", linear([1, 1, 1]), mae=1.0)
    assert d351cbf.select(d351cbf.rank(tmp_path), COUNTERS).model_name == "whole"


@pytest.mark.parametrize(
    ("change", "said"), [({"mae": "small"}, "would not start"), ({"features": 7}, "would end at the first request")]
)
def test_a_model_that_ends_the_estimator_is_not_passed_over(tmp_path, change, said):
    change_metadata(write_model(tmp_path / "broken", linear([1, 1, 1])), **change)
    write_model(tmp_path / "whole", linear([1, 1, 1]), mae=1.0)
    with pytest.raises(NotLoadable, match=f"broken/metadata.json.*{said}"):
        d351cbf.rank(tmp_path)
