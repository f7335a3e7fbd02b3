"""Figures as people read them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kepler_train.contract.window import RecordingSource, Span
from kepler_train.report import words

NUMBERS = {0: "0", 3.0213: "3.02", 46.957: "47.0", 312.4: "312", 1234567.8: "1,234,568", -0.5: "−0.50", 1e-15: "0"}
NUMBERS |= {9.994: "9.99", 9.999: "10.0", 99.96: "100", -9.999: "−10.0"}


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers_have_three_digits_and_a_true_minus(value):
    assert words.number(value) == NUMBERS[value]


@given(st.floats(-1e12, 1e12))
def test_numbers_read_back_as_what_they_were(value):
    written = words.number(value).replace(",", "").replace("−", "-")

    assert float(written) == pytest.approx(value, rel=0.0051, abs=0.0051)
    assert written != "-0"


def test_differences_carry_their_sign():
    assert [words.signed_percent(value).replace("\u202f", " ") for value in (1.25, -0.4, 0.0004)] == [
        "+1.25 %",
        "−0.40 %",
        "0 %",
    ]


def test_shares_never_round_something_to_nothing():
    assert words.share(1, 1_000_000).replace("\u202f", " ") == "< 0.01 %"
    assert words.share(0, 10).replace("\u202f", " ") == "0 %"
    assert words.share(3, 0) == "–"


def test_energy_per_interval_reads_as_power():
    assert words.watts(645_000, 3.0).replace("\u202f", " ") == "215 W"


def at(day, hour):
    return datetime(2026, 11, day, hour, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("spans", "written"),
    [
        ([], "no samples"),
        ([Span(at(3, 1), at(3, 4))], "03 Nov 2026 01:00 – 04:00 UTC"),
        ([Span(at(3, 1), at(4, 1))], "03 Nov 2026 01:00 – 04 Nov 2026 01:00 UTC"),
        (
            [Span(at(day, 1), at(day, 2)) for day in (5, 3, 9)],
            "3 windows within 03 Nov 2026 01:00 – 09 Nov 2026 02:00 UTC",
        ),
    ],
)
def test_windows_read_as_time(spans, written):
    assert words.window_words(spans) == written


def test_recordings_are_named_without_their_folders():
    assert (
        words.source_words(RecordingSource(files=("/a/idle.json.gz", "b.json"))) == "2 recordings: idle.json.gz, b.json"
    )
