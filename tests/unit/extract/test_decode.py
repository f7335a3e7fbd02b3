from __future__ import annotations

import json
import math

import pytest

from kepler_train.extract.decode import (
    ABSENT,
    FREQUENCY_FORM,
    PACKAGE_FORM,
    POD_FORM,
    NotSeries,
    decode,
    join,
)


def piece(*series: tuple[dict[str, str], list[tuple[float, str]]]) -> bytes:
    return json.dumps([{"metric": labels, "values": values} for labels, values in series]).encode()


def test_each_sample_of_a_series_becomes_a_row_with_its_labels() -> None:
    raw = decode(
        piece(
            ({"instance": "n", "cpu": "0", "job": "j"}, [(1.0, "10"), (4.0, "11")]),
            ({"instance": "n", "cpu": "1", "job": "j"}, [(1.0, "20")]),
        ),
        FREQUENCY_FORM,
    )
    assert raw.select(["timestamp", "cpu", "frequency_hertz"]).to_pylist() == [
        {"timestamp": 1000, "cpu": "0", "frequency_hertz": 10.0},
        {"timestamp": 4000, "cpu": "0", "frequency_hertz": 11.0},
        {"timestamp": 1000, "cpu": "1", "frequency_hertz": 20.0},
    ]


def test_timestamps_are_rounded_to_the_millisecond_they_mean() -> None:
    meant = [1_666_165_099_000 + offset for offset in range(1000)]
    raw = decode(piece(({"cpu": "0"}, [(at / 1000, "1") for at in meant])), FREQUENCY_FORM)
    assert raw["timestamp"].to_pylist() == meant
    assert [int(at / 1000) * 1000 + int(at / 1000 % 1 * 1000) for at in meant] != meant


def test_values_are_exact() -> None:
    texts = ["0.1", "113.889000", "272324218607", "18446744073709551615", "1e-320", "9007199254740993"]
    raw = decode(piece(({"cpu": "0"}, [(1.0, text) for text in texts])), FREQUENCY_FORM)
    assert raw["frequency_hertz"].to_pylist() == [float(text) for text in texts]


@pytest.mark.parametrize("odd", ["", "+Inf", "-Inf", "NaN", "many", " 5"])
def test_an_odd_number_does_not_cost_its_neighbours(odd: str) -> None:
    raw = decode(
        piece(
            ({"pkg_id": "0", "dram": "5", "core": "1"}, [(1.0, "3")]),
            ({"pkg_id": "1", "dram": odd, "core": "2"}, [(1.0, odd)]),
            ({"pkg_id": "2", "dram": "7"}, [(1.0, "4")]),
        ),
        PACKAGE_FORM,
    )
    odds = [raw[column][1].as_py() for column in ("dram_energy_millijoules", "package_energy_millijoules")]
    assert all(not math.isfinite(value) or odd == " 5" for value in odds)
    assert raw["dram_energy_millijoules"][0].as_py() == 5
    assert raw["package_energy_millijoules"].to_pylist()[::2] == [3.0, 4.0]
    assert raw["core_energy_millijoules"].to_pylist() == [1.0, 2.0, ABSENT]


def test_labels_that_are_not_wanted_do_not_matter() -> None:
    raw = decode(piece(({"pod_name": "p", "total_x": "not a number", "é": '\\"'}, [(1.0, "1")])), POD_FORM)
    assert raw["pod_name"].to_pylist() == ["p"]
    assert raw["curr_cpu_time"].to_pylist() == [ABSENT]


@pytest.mark.parametrize(
    "content", [b"[1]", b'{"a":1}', b'[{"metric":{},"values":[[1]]}]', b'[{"metric":[],"values":[]}]']
)
def test_what_is_no_series_is_refused(content: bytes) -> None:
    with pytest.raises(NotSeries):
        decode(content, POD_FORM)


def test_joined_tables_have_one_dictionary() -> None:
    parts = [decode(piece(({"pod_name": name}, [(1.0, "1")])), POD_FORM) for name in "bab"]
    joined = join(parts, POD_FORM)
    assert joined["pod_name"].num_chunks == 1
    assert joined["pod_name"].to_pylist() == ["b", "a", "b"]
    assert join([], POD_FORM).num_rows == 0
