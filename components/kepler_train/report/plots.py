"""Plots as inline SVG: positions across in percent, so they fit any width; colours from the page's style sheet.

Only `markupsafe` formatting makes SVG here, so text from outside cannot become markup.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from markupsafe import Markup

from kepler_train.contract.curves import PodCurve
from kepler_train.report.trace import Floats, Residuals, TimeLine
from kepler_train.report.words import scaled

Range = tuple[float, float]

_TRACK_HEIGHT = 26
_PLOT_HEIGHT = 170
_MOST_BARS = 120
_HISTORY_HEIGHT = 34


def _svg(height: int, label: str, parts: Iterable[Markup], kind: str) -> Markup:
    return Markup('<svg class="{}" width="100%" height="{}" role="img" aria-label="{}">{}</svg>').format(
        kind, height, label, Markup("").join(parts)
    )


def _at(fraction: float) -> str:
    return f"{100 * fraction:.2f}%"


# Errors of one pipeline on a logarithmic axis that all pipelines of a page share.


def error_range(errors_percent: Iterable[float]) -> Range:
    """Choose the ends of the shared error axis, in percent; a range without errors gets a plain 1 to 100 %."""
    positive = [error for error in errors_percent if error > 0]
    return (min(positive) / 1.15, max(positive) * 1.15) if positive else (1.0, 100.0)


def _log_position(error_percent: float, ends: Range) -> float:
    low, high = ends
    inside = min(max(error_percent, low), high)
    return math.log(inside / low) / math.log(high / low)


def error_track(
    candidate: float, champion: float | None, constant: float | None, *, noise: Range, ends: Range, label: str
) -> Markup:
    """Draw one pipeline's errors in percent: a dot, its noise interval, a diamond, and a bar for the constant."""
    middle = _TRACK_HEIGHT / 2
    parts = [
        Markup('<line class="step" x1="{0}" x2="{0}" y1="2" y2="{1}"/>').format(_at(position), _TRACK_HEIGHT - 2)
        for _, position in _steps(ends)
    ]
    parts.append(Markup('<line class="rail" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(middle))
    if constant is not None:
        parts.append(
            Markup('<line class="constant" x1="{0}" x2="{0}" y1="4" y2="{1}"/>').format(
                _at(_log_position(constant, ends)), _TRACK_HEIGHT - 4
            )
        )
    left, right = (_at(_log_position(end, ends)) for end in noise)
    parts.append(Markup('<line class="noise" x1="{}" x2="{}" y1="{m}" y2="{m}"/>').format(left, right, m=middle))
    if champion is not None:
        parts.append(
            Markup(
                '<svg x="{}" y="{}" overflow="visible"><path class="champion" d="M-6 0L0-6L6 0L0 6Z"/></svg>'
            ).format(_at(_log_position(champion, ends)), middle)
        )
    parts.append(
        Markup('<circle class="candidate" cx="{}" cy="{}" r="5"/>').format(_at(_log_position(candidate, ends)), middle)
    )
    return _svg(_TRACK_HEIGHT, label, parts, "track")


def error_axis(ends: Range) -> Markup:
    """Draw the labels above the tracks of a page."""
    parts = [
        Markup('<text x="{}" y="12" text-anchor="middle">{:g} %</text>').format(_at(position), step)
        for step, position in _steps(ends)
    ]
    return Markup('<svg class="axis" width="100%" height="16" aria-hidden="true">{}</svg>').format(
        Markup("").join(parts)
    )


def _steps(ends: Range) -> list[tuple[float, float]]:
    decades = range(math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1])) + 1)
    steps = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    return [(step, _log_position(step, ends)) for step in steps if ends[0] <= step <= ends[1]]


# Power over the held-out time.


def power_over_time(line: TimeLine, curves: Sequence[tuple[str, str]], label: str) -> Markup:
    """Draw watts over held-out time; `curves` are pairs of trace column and the curve's class in the style sheet."""
    top, steps = _watt_axis(max(float(np.nanmax(line.power_watts[column])) for column, _ in curves))
    parts = [_grid(step, step / top, _PLOT_HEIGHT) for step in steps]
    parts += [
        Markup('<rect class="gap" x="{}" width="{}" y="0" height="{}"/>').format(
            _at(left), _at(right - left), _PLOT_HEIGHT
        )
        for left, right in line.gaps
    ]
    parts.append(
        Markup('<svg width="100%" height="{}" viewBox="0 0 1000 100" preserveAspectRatio="none">').format(_PLOT_HEIGHT)
    )
    parts += [
        Markup('<path class="{}" d="{}"/>').format(kind, _broken_line(line, line.power_watts[column] / top))
        for column, kind in curves
    ]
    parts.append(Markup("</svg>"))
    parts += _time_labels(line.ticks)
    return _svg(_PLOT_HEIGHT + 20, label, parts, "plot")


def _broken_line(line: TimeLine, heights: Floats) -> str:
    """Trace a path that starts anew where a run of blocks starts; a lone point becomes a dot."""
    starts = np.diff(line.runs, prepend=-1) > 0
    across, down = 1000 * line.positions, 100 * (1 - heights)
    strokes: list[str] = []
    pen_down = False
    for x, y, start in zip(across, down, starts, strict=True):
        if math.isnan(y):
            pen_down = False
            continue
        strokes.append(
            f"{'L' if pen_down and not start else 'M'}{x:.1f} {y:.1f}{'' if pen_down and not start else 'h0'}"
        )
        pen_down = True
    return "".join(strokes)


def _watt_axis(highest_watts: float) -> tuple[float, list[float]]:
    """Choose the top of an axis from 0 and three to five round steps on it."""
    rough = max(highest_watts, 1e-3) / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(step * magnitude for step in (1, 2, 2.5, 5, 10) if step * magnitude >= rough)
    count = math.ceil(highest_watts / step)
    return step * count, [step * index for index in range(count + 1)]


def _grid(value: float, fraction: float, height: int, unit: str = "W") -> Markup:
    y = round(height * (1 - fraction), 1)
    return Markup(
        '<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
        '<text x="-6" y="{text}" text-anchor="end">{value:g} {unit}</text>'
    ).format(y=y, text=y + 4, value=value, unit=unit)


def _time_labels(ticks: Sequence[tuple[float, datetime]]) -> list[Markup]:
    first, last = ticks[0][1], ticks[-1][1]
    form = (
        "%d %b %H:%M"
        if first.date() != last.date()
        else "%H:%M"
        if (last - first).total_seconds() > 600
        else "%H:%M:%S"
    )
    anchors = ["start", *["middle"] * (len(ticks) - 2), "end"]
    return [
        Markup('<text x="{}" y="{}" text-anchor="{anchor}" class="tick-{anchor}">{}</text>').format(
            _at(position), _PLOT_HEIGHT + 16, f"{time:{form}}", anchor=anchor
        )
        for (position, time), anchor in zip(ticks, anchors, strict=False)
    ]


# Comparison block by block, and residuals.


def block_bars(differences: Sequence[float], label: str) -> Markup:
    """Draw errors' differences per block, candidate minus reference in points, sorted; many are thinned evenly."""
    ordered = np.sort(np.asarray(differences, dtype=np.float64))
    if len(ordered) > _MOST_BARS:
        ordered = np.quantile(ordered, np.linspace(0, 1, _MOST_BARS))
    height, width = 70, 1 / len(ordered)
    reach = max(float(np.abs(ordered).max()), 1e-9)
    parts = [
        Markup('<rect class="{}" x="{}" width="{}" y="{:.1f}" height="{:.1f}"/>').format(
            "better" if value < 0 else "worse",
            _at(index * width + 0.1 * width),
            _at(0.8 * width),
            height / 2 - max(float(value), 0) / reach * height / 2,
            abs(float(value)) / reach * height / 2,
        )
        for index, value in enumerate(ordered)
    ]
    parts += [
        Markup('<text x="-6" y="{}" text-anchor="end">{:+.2g}</text>').format(y, value)
        for y, value in ((10, reach), (height, -reach))
    ]
    parts.append(Markup('<line class="zero" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(height / 2))
    return _svg(height, label, parts, "plot")


def residual_plot(cells: Residuals, label: str) -> Markup:
    """Draw predicted minus measured watts against measured watts; a larger dot stands for more intervals."""
    top, steps = _watt_axis(float(cells.measured_watts.max()))
    reach, _ = _watt_axis(float(np.abs(cells.residual_watts).max()))
    height = 150
    parts = [_grid(value, (value + reach) / (2 * reach), height) for value in (-reach, -reach / 2, 0, reach / 2, reach)]
    parts += [
        Markup('<text x="{}" y="{}" text-anchor="middle">{:g} W</text>').format(_at(step / top), height + 16, step)
        for step in steps[1:-1]
    ]
    sizes = 1.5 + 3.5 * np.sqrt(cells.counts / cells.counts.max())
    parts += [
        Markup('<circle class="residual" cx="{}" cy="{:.1f}" r="{:.1f}"/>').format(
            _at(measured / top), height * (1 - (residual + reach) / (2 * reach)), size
        )
        for measured, residual, size in zip(cells.measured_watts, cells.residual_watts, sizes, strict=True)
    ]
    return _svg(height + 20, label, parts, "plot")


# One pod.


def pod_curve(curve: PodCurve, interval_seconds: float, label: str) -> Markup:
    """Draw a pod's watts over the varied feature, with a mark at the mean pod."""
    watts = np.array(curve.millijoules) / (1000 * interval_seconds)
    top, steps = _watt_axis(max(float(watts.max()), 0.01))
    last = curve.values[-1]
    parts = [_grid(step, step / top, _PLOT_HEIGHT) for step in steps]
    parts += [
        Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
            _at(value / last), _PLOT_HEIGHT + 16, "middle" if value else "start", scaled(value)
        )
        for value in _watt_axis(last)[1]
        if value <= 0.97 * last
    ]
    parts.append(
        Markup(
            '<line class="zero" x1="{0}" x2="{0}" y1="0" y2="{1}"/><text x="{0}" dx="5" y="12">mean pod</text>'
        ).format(_at(curve.mean / last), _PLOT_HEIGHT)
    )
    points = " ".join(
        f"{1000 * value / last:.1f} {100 * (1 - watt / top):.2f}"
        for value, watt in zip(curve.values, watts.tolist(), strict=True)
    )
    parts.append(
        Markup(
            '<svg width="100%" height="{}" viewBox="0 0 1000 100" preserveAspectRatio="none">'
            '<path class="candidate" d="M{}"/></svg>'
        ).format(_PLOT_HEIGHT, points)
    )
    return _svg(_PLOT_HEIGHT + 20, label, parts, "plot")


# Champions over the runs.


def error_history(points: Sequence[tuple[float, float, bool]], label: str) -> Markup:
    """Draw a model's error run by run, with a dot where another version came into service.

    Each point is (time, error, whether its version is new) in parts of the axes, errors from 0. The line to a new
    version's point is faint: the error that changes there is another model's.
    """
    height = _HISTORY_HEIGHT
    parts = [Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(height)]
    parts += [
        Markup('<line class="{}" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>').format(
            "step" if is_new else "champion", _at(left), height * (1 - start), _at(right), height * (1 - end)
        )
        for (left, start, _), (right, end, is_new) in itertools.pairwise(points)
    ]
    parts += [
        Markup('<circle class="champion" cx="{}" cy="{:.1f}" r="3"/>').format(_at(left), height * (1 - error))
        for left, error, is_new in points
        if is_new
    ]
    return _svg(height + 2, label, parts, "plot")
