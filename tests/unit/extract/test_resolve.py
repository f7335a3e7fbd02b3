from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.window import PrometheusSource, RecordingSource, Span, is_of_run
from kepler_train.extract import resolve

NOW = datetime(2026, 11, 23, 2, 0, 42, 123456, tzinfo=timezone.utc)
URL = "http://prometheus:9090"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)


def test_a_relative_window_is_fixed_to_whole_minutes() -> None:
    window = resolve.run(prometheus_url=URL, last=["24h"], now=NOW)
    assert window.spans == (Span(utc(2026, 11, 22, 2, 0), utc(2026, 11, 23, 2, 0)),)


def test_now_may_be_in_another_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert resolve.run(prometheus_url=URL, last=["30m"], now=elsewhere).spans == (
        Span(utc(2026, 11, 23, 1, 30), utc(2026, 11, 23, 2, 0)),
    )


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-23T02:00:00Z", utc(2026, 11, 23, 2)),
        ("2026-11-23T02:00", utc(2026, 11, 23, 2)),
        ("2026-11-23T02:00:00+02:00", utc(2026, 11, 23, 0)),
        ("2026-11-23T02:00:00.5", utc(2026, 11, 23, 2, 0, 0, 500_000)),
        ("2026-11-23T02:00:00.123-01:00", utc(2026, 11, 23, 3, 0, 0, 123_000)),
    ],
)
def test_times_without_a_zone_are_utc(text: str, meant: datetime) -> None:
    window = resolve.run(prometheus_url=URL, start=[text], end=["2027-01-01T00:00Z"], now=NOW)
    assert window.spans[0].start == meant
    assert window.spans[0].start.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-23",
        "2026-11-23 02:00",
        "2026-13-01T00:00",
        "2026-11-23T25:00",
        "1766000000",
        "20261123T0200",
        "0001-01-01T00:00+05:00",
    ],
)
def test_a_time_that_could_mean_anything_is_refused(text: str) -> None:
    with pytest.raises(WrongUsage, match="write it as 2026-11-23T02:00:00Z"):
        resolve.run(prometheus_url=URL, start=[text], end=["2027-01-01T00:00Z"], now=NOW)


@pytest.mark.parametrize("length", ["", "24", "h", "-1h", "0h", "1.5h", "1w", "24 h", "99999999999d"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(WrongUsage, match="write it as 30m, 24h or 7d"):
        resolve.run(prometheus_url=URL, last=[length], now=NOW)


@pytest.mark.parametrize("end", ["2026-11-23T02:00Z", "2026-11-23T01:59Z"])
def test_an_end_before_its_start_is_refused_with_both(end: str) -> None:
    with pytest.raises(WrongUsage, match=r"ends at .*, not after its start at 2026-11-23T02:00:00Z"):
        resolve.run(prometheus_url=URL, start=["2026-11-23T02:00Z"], end=[end], now=NOW)


def test_several_spans_come_in_order_and_touching_ones_as_one() -> None:
    window = resolve.run(
        prometheus_url=URL,
        start=["2026-11-20T00:00", "2026-11-10T00:00", "2026-11-20T01:00"],
        end=["2026-11-20T01:00", "2026-11-10T01:00", "2026-11-20T02:00"],
        last=["1h", "30m"],
        now=NOW,
    )
    assert window.spans == (
        Span(utc(2026, 11, 10), utc(2026, 11, 10, 1)),
        Span(utc(2026, 11, 20), utc(2026, 11, 20, 2)),
        Span(utc(2026, 11, 23, 1), utc(2026, 11, 23, 2)),
    )


def test_each_start_needs_its_end() -> None:
    with pytest.raises(WrongUsage, match="1 starts and 0 ends"):
        resolve.run(prometheus_url=URL, start=["2026-11-23T02:00Z"], now=NOW)


def test_a_prometheus_needs_a_time_and_a_recording_does_not() -> None:
    with pytest.raises(WrongUsage, match="no time is given"):
        resolve.run(prometheus_url=URL, now=NOW)
    window = resolve.run(recordings=["a.json", "b.json.gz"], now=NOW)
    assert window.source == RecordingSource(("a.json", "b.json.gz"))
    assert window.spans == ()


def test_there_is_exactly_one_source() -> None:
    for parameters in ({}, {"prometheus_url": URL, "recordings": ["a.json"]}):
        with pytest.raises(WrongUsage, match="exactly one source"):
            resolve.run(**parameters, last=["1h"], now=NOW)


def test_run_ids_are_readable_and_sort_by_time() -> None:
    ids = [resolve.run(recordings=["a"], now=NOW + timedelta(hours=hours)).run_id for hours in range(30)]
    assert ids == sorted(ids)
    assert ids[0].startswith("20261123T020042Z-")
    assert len({resolve.run(recordings=["a"], now=NOW).run_id for _ in range(10)}) > 1


def test_a_run_id_ends_with_the_start_of_the_engines_and_is_known_by_it() -> None:
    run_id = resolve.run(recordings=["a"], job_id="1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", now=NOW).run_id
    assert run_id == "20261123T020042Z-1b9d6bcd"
    assert is_of_run(run_id, "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")
    assert not is_of_run(run_id, "1b9d6bce-bbfd-4b2d-9b5d-ab8dfbbd4bed")
    for nameless in ("", "{{$.placeholder}}", "-1b9d"):
        chance = resolve.run(recordings=["a"], job_id=nameless, now=NOW).run_id
        assert len(chance) == len("20261123T020042Z-1a2b")
        assert not is_of_run(chance, nameless)


@pytest.mark.parametrize("selector", ["", 'job="kepler-exporter"', ' job =~ "kepler.*" , cluster!="a\\"b",x!~"y"'])
def test_label_matchers_go_with_the_source(selector: str) -> None:
    window = resolve.run(prometheus_url=URL + "/", selector=selector, last=["1h"], now=NOW)
    assert window.source == PrometheusSource(URL, selector.strip())


@pytest.mark.parametrize("selector", ['{job="a"}', "job=a", 'job="a"}[1y] or up{a="b"', 'job="a" job="b"', 'job="a'])
def test_what_is_no_list_of_matchers_is_refused(selector: str) -> None:
    with pytest.raises(WrongUsage, match="list of label matchers"):
        resolve.run(prometheus_url=URL, selector=selector, last=["1h"], now=NOW)


def test_a_selector_is_for_a_prometheus_only() -> None:
    with pytest.raises(WrongUsage, match="selector"):
        resolve.run(recordings=["a"], selector='job="a"', now=NOW)


@pytest.mark.parametrize(
    "url", ["prometheus:9090", "ftp://prometheus", "http://", "http://p:9090/?a=b", "http://[::1", "x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(WrongUsage, match="http://prometheus:9090"):
        resolve.run(prometheus_url=url, last=["1h"], now=NOW)


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@prometheus:9090", "https://hunter2@prometheus", "http://a:hunter2@["]
)
def test_credentials_in_an_address_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(WrongUsage) as refusal:
        resolve.run(prometheus_url=url, last=["1h"], now=NOW)
    assert "hunter2" not in str(refusal.value)
