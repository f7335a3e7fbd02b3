from __future__ import annotations

import json
import math

import pytest

from kepler_train.extract.decode import ABSENT, Decoder, NotSeries, Raw
from kepler_train.extract.forms import FREQUENCY_FORM, PACKAGE_FORM, POD_FORM, Form


def piece(*series: tuple[dict[str, str], list[tuple[float, str]]]) -> bytes:
    return json.dumps([{"metric": labels, "values": values} for labels, values in series]).encode()


def decode(content: bytes, form: Form) -> Raw:
    decoder = Decoder(form)
    decoder.add(content)
    return decoder.take()


def words(raw: Raw, column: str) -> list[str]:
    return [raw.names[column].words[code] for code in raw.names[column].codes]


def test_each_sample_of_a_series_becomes_a_row_with_its_labels() -> None:
    raw = decode(
        piece(
            ({"instance": "n", "cpu": "0", "job": "j"}, [(1.0, "10"), (4.0, "11")]),
            ({"instance": "n", "cpu": "1", "job": "j"}, [(1.0, "20")]),
        ),
        FREQUENCY_FORM,
    )
    assert raw.timestamp_ms.tolist() == [1000, 4000, 1000]
    assert words(raw, "cpu") == ["0", "0", "1"]
    assert raw.numbers["frequency_hertz"].tolist() == [10.0, 11.0, 20.0]


def test_series_without_samples_lend_their_labels_to_no_other() -> None:
    raw = decode(piece(({"cpu": "0"}, []), ({"cpu": "1"}, [(1.0, "10"), (4.0, "11")])), FREQUENCY_FORM)
    assert words(raw, "cpu") == ["1", "1"]


def test_timestamps_are_rounded_to_the_millisecond_they_mean() -> None:
    meant = [1_666_165_099_000 + offset for offset in range(1000)]
    raw = decode(piece(({"cpu": "0"}, [(at / 1000, "1") for at in meant])), FREQUENCY_FORM)
    assert raw.timestamp_ms.tolist() == meant
    assert [int(at / 1000) * 1000 + int(at / 1000 % 1 * 1000) for at in meant] != meant


def test_values_are_exact() -> None:
    texts = ["0.1", "113.889000", "272324218607", "18446744073709551615", "1e-320", "9007199254740993"]
    raw = decode(piece(({"cpu": "0"}, [(1.0, text) for text in texts])), FREQUENCY_FORM)
    assert raw.numbers["frequency_hertz"].tolist() == [float(text) for text in texts]


@pytest.mark.parametrize("odd", ["", "+Inf", "-Inf", "NaN", "many", "0x1F"])
def test_an_odd_number_does_not_cost_its_neighbours(odd: str) -> None:
    raw = decode(
        piece(
            ({"pkg_id": "0", "dram": "5", "core": "1"}, [(1.0, "3")]),
            ({"pkg_id": "1", "dram": odd, "core": "2"}, [(1.0, odd)]),
            ({"pkg_id": "2", "dram": "7"}, [(1.0, "4")]),
        ),
        PACKAGE_FORM,
    )
    dram, package = (raw.numbers[f"{part}_energy_millijoules"].tolist() for part in ("dram", "package"))
    # An empty label is none.
    assert dram[1] == ABSENT if odd == "" else not math.isfinite(dram[1])
    assert not math.isfinite(package[1])
    assert dram[::2] == [5.0, 7.0]
    assert package[::2] == [3.0, 4.0]
    assert raw.numbers["core_energy_millijoules"].tolist() == [1.0, 2.0, ABSENT]


def test_labels_that_are_not_wanted_do_not_matter() -> None:
    raw = decode(piece(({"pod_name": "p", "total_x": "not a number", "é": '\\"'}, [(1.0, "1")])), POD_FORM)
    assert words(raw, "pod_name") == ["p"]
    assert raw.numbers["curr_cpu_time"].tolist() == [ABSENT]


@pytest.mark.parametrize(
    "content",
    [
        b"[1]",
        b'{"a":1}',
        b'[{"metric":{},"values":[[1]]}]',
        b'[{"metric":[],"values":[]}]',
        b'[{"metric":{"pod_name":"caf\xe9"},"values":[]}]',
    ],
)
def test_what_is_no_series_is_refused(content: bytes) -> None:
    with pytest.raises(NotSeries):
        decode(content, POD_FORM)


def test_codes_mean_the_same_in_all_that_a_decoder_gives() -> None:
    decoder = Decoder(POD_FORM)
    decoder.add(piece(({"pod_name": "b"}, [(1.0, "1")])))
    decoder.add(piece(({"pod_name": "a"}, [(1.0, "1")]), ({"pod_name": "b"}, [(1.0, "1")])))
    first = decoder.take()
    assert words(first, "pod_name") == ["b", "a", "b"]
    decoder.add(piece(({"pod_name": "c"}, [(1.0, "1")]), ({"pod_name": "a"}, [(1.0, "1")])))
    second = decoder.take()
    assert words(second, "pod_name") == ["c", "a"]
    assert second.names["pod_name"].codes[1] == first.names["pod_name"].codes[1]
    assert len(decoder.take()) == 0
