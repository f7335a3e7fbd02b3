"""Render a template of this room as one self-contained HTML file: all text escaped, style inline, nothing fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from kepler_train.contract.documents import write_atomically
from kepler_train.report import words
from kepler_train.report.outcome import Outcome

_FILTERS = (
    words.count,
    words.figure,
    words.many,
    words.missing_metric_words,
    words.moment,
    words.number,
    words.percent,
    words.reason_words,
    words.share,
    words.signed_percent,
    words.source_words,
    words.table_words,
    words.watts,
    words.window_words,
)


def write_page(template: str, html: Path, **values: Any) -> None:
    """Write a page through its template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in _FILTERS}
    environment.globals["Outcome"] = Outcome
    write_atomically(html, environment.get_template(template).render(**values).encode())
