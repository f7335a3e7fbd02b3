"""Figures and names as people read them: units, signs, and what codes mean in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from kepler_train.contract.features import FeatureGroup
from kepler_train.contract.tables import FREQUENCY, METRIC_OF_TABLE, NODE_STAT, PACKAGE, POD_STAT
from kepler_train.contract.window import PrometheusSource, Source, Span

_SPACE = "\N{NARROW NO-BREAK SPACE}"

GROUP_WORDS = {
    FeatureGroup.FULL: "all usage features and the CPU's architecture",
    FeatureGroup.WORKLOAD_ONLY: "all usage features",
    FeatureGroup.COUNTER_ONLY: "hardware counters: cache misses, cycles, instructions",
    FeatureGroup.CGROUP_ONLY: "cgroup statistics and I/O",
    FeatureGroup.BPF_ONLY: "CPU time as BPF sees it",
    FeatureGroup.KUBELET_ONLY: "what the kubelet reports: CPU and working set",
}

_MISSING_METRICS = {
    METRIC_OF_TABLE[POD_STAT]: "no pod's usage is known, so nothing can be trained",
    METRIC_OF_TABLE[NODE_STAT]: "the nodes' own totals and architectures are unknown",
    METRIC_OF_TABLE[FREQUENCY]: "pipelines get no CPU frequencies; none of the shipped ones needs them",
    METRIC_OF_TABLE[PACKAGE]: "the packages' own energy counters are unknown",
}

_TABLES = {
    POD_STAT: "pod samples",
    NODE_STAT: "node samples",
    FREQUENCY: "frequency samples",
    PACKAGE: "package energy samples",
}


_REASONS = {
    "missing_label": "a label is missing",
    "duplicate": "a second sample of the same moment; the first is used",
    "not_finite": "not a finite number",
    "negative": "below zero",
    "impossible": "more than is possible: a counter that wrapped",
    "first_sample": "first of its counter: nothing to take a difference from",
    "gap": "samples before it are missing, so there is no difference over one interval",
    "counter_reset": "a counter was reset",
    "counter_wrap": "a counter reached its end and started again",
    "no_energy": "no energy was measured",
    "impossible_energy": "the energy is zero, negative or more than a node can draw",
    "no_pods": "no pods were recorded",
    "lost_pod_row": "a pod's sample was set apart, so the pods no longer add up",
    "missing_feature": "a feature of the group is missing",
    "incomplete": "the pods do not add up to their node",
    "gap_beside_held_out": "beside a held-out block: used for neither part",
}


def number(value: float) -> str:
    """Write a figure to three digits, of which at most two behind the point, with a true minus sign."""
    if not math.isfinite(value):
        return str(value)
    decimals = next((2 - power for power in (0, 1) if round(abs(value), 2 - power) < 10 ** (power + 1)), 0)
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else "0"


def figure(value: float) -> str:
    """Write a measure of any size to three digits."""
    return f"{value:,.3g}".replace("-", "−")


def scaled(value: float) -> str:
    """Write a figure of any size briefly, with the prefix of its thousands: `2.5 G`."""
    prefixes = ("", "k", "M", "G", "T", "P")
    power = min(int(math.log10(value) // 3), len(prefixes) - 1) if value >= 1 else 0
    return f"{value / 1000**power:.3g}{_SPACE if power else ''}{prefixes[power]}"


def percent(value: float) -> str:
    """Write a share or an error that is already in percent."""
    return f"{number(value)}{_SPACE}%"


def signed_percent(value: float) -> str:
    """Write a difference in percent with its sign."""
    text = number(value)
    return ("+" if value > 0 and text != "0" else "") + f"{text}{_SPACE}%"


def share(part: int, whole: int) -> str:
    """Write what share `part` is of `whole`."""
    if not whole:
        return "–"
    return f"< {percent(0.01)}" if 0 < part / whole < 1e-4 else percent(100 * part / whole)


def watts(millijoules: float, interval_seconds: float) -> str:
    """Write energy per interval as the power it means."""
    return f"{number(millijoules / 1000 / interval_seconds)}{_SPACE}W"


def count(value: int) -> str:
    """Write a number of things."""
    return f"{value:,}"


def many(value: int, thing: str) -> str:
    """Write a number of things with the thing's name: `1 node`, `3 nodes`."""
    return f"{value:,} {thing}{'' if value == 1 else 's'}"


def moment(time: datetime) -> str:
    """Write a time in UTC to the minute."""
    return f"{time:%d %b %Y %H:%M}"


def span_words(span: Span) -> str:
    """Write a stretch of time, the date once where both ends are on one day."""
    end = f"{span.end:%H:%M}" if span.start.date() == span.end.date() else moment(span.end)
    return f"{moment(span.start)} – {end} UTC"


def window_words(spans: Sequence[Span]) -> str:
    """Write the spans of a window, or their number and extent where they are many."""
    if not spans:
        return "no samples"
    if len(spans) <= 2:
        return ", ".join(span_words(span) for span in spans)
    extent = Span(start=min(span.start for span in spans), end=max(span.end for span in spans))
    return f"{len(spans)} windows within {span_words(extent)}"


def source_words(source: Source) -> str:
    """Name where the samples came from."""
    if isinstance(source, PrometheusSource):
        return f"Prometheus at {source.url}" + (f", only {source.selector}" if source.selector else "")
    return many(len(source.files), "recording") + ": " + ", ".join(file.rsplit("/", 1)[-1] for file in source.files)


def missing_metric_words(metric: str) -> str:
    """Say what follows from a metric that the window lacks."""
    return _MISSING_METRICS.get(metric, "not in the window")


def table_words(table: str) -> str:
    """Name the rows of a table."""
    return _TABLES.get(table, table)


def reason_words(reason: str) -> str:
    """Say a reason or another code in plain words."""
    return _REASONS.get(reason, reason.replace("_", " "))
