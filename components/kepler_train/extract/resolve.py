"""From parameters to a window: the source, the spans of time in UTC, the run. Done once, so a rerun is the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from kepler_train.contract.errors import WrongUsage
from kepler_train.contract.window import PrometheusSource, RecordingSource, Source, Span, Window, run_id_of

_RELATIVE = re.compile(r"(\d+)([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)(Z|[+-]\d\d:\d\d)?")
_MATCHER = r'\s*[A-Za-z_]\w*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*"\s*'
_SELECTOR = re.compile(rf"(?:{_MATCHER}(?:,{_MATCHER})*)?")


def run(
    *,
    prometheus_url: str = "",
    selector: str = "",
    recordings: Sequence[str] = (),
    start: Sequence[str] = (),
    end: Sequence[str] = (),
    last: Sequence[str] = (),
    job_id: str = "",
    now: datetime,
) -> Window:
    """Fix the window that a run works on.

    Either `prometheus_url` (with label matchers in `selector`) or `recordings` is the source. `start` and `end` are
    ISO times in pairs, UTC unless they say otherwise; `last` are lengths such as `24h` or `30m` before `now`, which is
    cut to the minute. Spans that touch become one. A recording without spans is read whole. `job_id` is the
    run's id in the engine.

    Raises WrongUsage for what cannot be meant.
    """
    source = _source(prometheus_url, selector, recordings)
    spans = _merged([*_absolute(start, end), *(_relative(length, now) for length in last)])
    if isinstance(source, PrometheusSource) and not spans:
        raise WrongUsage("no time is given; say --last 24h, or --start and --end")
    return Window(run_id=run_id_of(job_id, now), source=source, spans=spans)


def check_url(url: str) -> None:
    """Refuse a URL that is no Prometheus address or that carries credentials, without repeating them."""
    try:
        parts = urlsplit(url)
        host, credentials = parts.hostname, "@" in parts.netloc
    except ValueError as cause:
        raise WrongUsage("the Prometheus URL is malformed; give one such as http://prometheus:9090") from cause
    if credentials:
        raise WrongUsage(
            f"the Prometheus URL of {host} carries credentials; take them out and set PROMETHEUS_USERNAME and "
            "PROMETHEUS_PASSWORD, or PROMETHEUS_BEARER_TOKEN, in the environment"
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise WrongUsage(f"{url!r} is no address of a Prometheus; give one such as http://prometheus:9090")


def _source(prometheus_url: str, selector: str, recordings: Sequence[str]) -> Source:
    if bool(prometheus_url) == bool(recordings):
        raise WrongUsage("give exactly one source: the URL of a Prometheus, or recordings")
    if recordings:
        if selector:
            raise WrongUsage("a selector chooses series of a Prometheus; with recordings leave it out")
        return RecordingSource(files=tuple(recordings))
    check_url(prometheus_url)
    if not _SELECTOR.fullmatch(selector):
        raise WrongUsage(f'selector {selector!r} is no list of label matchers; write it as job="kepler-exporter"')
    return PrometheusSource(url=prometheus_url.rstrip("/"), selector=selector.strip())


def _absolute(starts: Sequence[str], ends: Sequence[str]) -> list[Span]:
    if len(starts) != len(ends):
        raise WrongUsage(f"{len(starts)} starts and {len(ends)} ends are given; each --start needs its --end")
    spans = [Span(_time(start), _time(end)) for start, end in zip(starts, ends, strict=True)]
    for span in spans:
        if span.end <= span.start:
            raise WrongUsage(
                f"the window ends at {span.end:%Y-%m-%dT%H:%M:%SZ}, not after its start at "
                f"{span.start:%Y-%m-%dT%H:%M:%SZ}; exchange them?"
            )
    return spans


def _time(text: str) -> datetime:
    wrong = f"{text!r} is no time; write it as 2026-11-23T02:00:00Z"
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise WrongUsage(wrong)
    # Python 3.10 reads fractions of three or six digits only, and no Z.
    whole, _, fraction = match[1].partition(".")
    zone = (match[2] or "Z").replace("Z", "+00:00")
    try:
        time = datetime.fromisoformat(f"{whole}.{fraction:0<3}{zone}" if fraction else f"{whole}{zone}")
        return time.astimezone(timezone.utc)
    except (ValueError, OverflowError) as cause:
        raise WrongUsage(wrong) from cause


def _relative(text: str, now: datetime) -> Span:
    match = _RELATIVE.fullmatch(text.strip())
    if not match or not int(match[1]):
        raise WrongUsage(f"{text!r} is no length of time; write it as 30m, 24h or 7d")
    end = now.astimezone(timezone.utc).replace(second=0, microsecond=0)
    try:
        return Span(end - timedelta(**{_UNITS[match[2]]: int(match[1])}), end)
    except OverflowError as cause:
        raise WrongUsage(f"{text!r} reaches back before all time; write it as 30m, 24h or 7d") from cause


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return tuple(merged)
