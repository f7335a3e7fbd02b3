"""The figures as text for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import Figure, Report

SCHEMA_VERSION = 1


def text(report: Report) -> str:
    """All tables, then notes, then what was reached and what was not."""
    tables = dict.fromkeys(figure.table for figure in report.figures)
    parts = [_table(name, [figure for figure in report.figures if figure.table == name]) for name in tables]
    if report.notes:
        parts.append("\n".join(["notes", *(f"  {note}" for note in report.notes)]))
    return "\n\n".join([*parts, _summary(report)])


def write_json(report: Report, about: dict[str, object], path: Path) -> None:
    """Write the same figures for a program."""
    figures = [{**asdict(figure), "reached": figure.reached} for figure in report.figures]
    content = {"schema_version": SCHEMA_VERSION, **about, "figures": figures, "notes": report.notes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _table(name: str, figures: list[Figure]) -> str:
    columns = list(dict.fromkeys(figure.column for figure in figures))
    rows = list(dict.fromkeys(figure.row for figure in figures))
    cells = {(figure.row, figure.column): _cell(figure) for figure in figures}
    head = ["", *columns]
    body = [[row, *(cells.get((row, column), "") for column in columns)] for row in rows]
    widths = [max(len(line[index]) for line in [head, *body]) for index in range(len(head))]
    lines = [_line(line, widths) for line in [head, *body]]
    return "\n".join([name, lines[0], "-" * len(lines[0]), *lines[1:]])


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "  ".join([cells[0].ljust(widths[0]), *padded])


def _cell(figure: Figure) -> str:
    value = f"{figure.value:.3g}" if abs(figure.value) < 10 else f"{figure.value:,.1f}"
    if figure.at_least is not None:
        return f"{value} (≥ {figure.at_least:g}{'' if figure.reached else ', MISS'})"
    if figure.at_most is None:
        return value
    sign = "±" if figure.value < 0 or "bias" in figure.column else ""
    return f"{value} (≤ {sign}{figure.at_most:g}{'' if figure.reached else ', MISS'})"


def _summary(report: Report) -> str:
    """Count, by table, the figures that reach their target."""
    counts: dict[str, list[bool]] = {}
    for figure in report.figures:
        if figure.reached is not None:
            counts.setdefault(figure.table, []).append(figure.reached)
    reached, targets = sum(map(sum, counts.values())), sum(map(len, counts.values()))
    lines = [f"  {sum(each):>3} of {len(each):>3}  {table}" for table, each in counts.items()]
    return "\n".join([f"figures that reach their target: {reached} of {targets}", *lines])
