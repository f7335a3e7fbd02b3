"""The leaderboard as a short Markdown table, for where only Markdown is shown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kepler_train.contract.models import Score
from kepler_train.report.entries import Entry
from kepler_train.report.leaderboard import GroupBoard
from kepler_train.report.outcome import full_name
from kepler_train.report.words import moment, percent, signed_percent

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&])")


def markdown_of(counts: str, failures: str, boards: Sequence[GroupBoard], store_problem: str, signatures: str) -> str:
    """Write the headline and one row per model: errors of candidate, champion and a constant, and the decision."""
    lines = [f"**{_plain(counts)}{': ' if failures else ''}{_plain(failures)}**", ""]
    if store_problem:
        lines += [f"The store could not be read: {_plain(store_problem)}", ""]
    taken_back = [entry for board in boards for entry in board.entries if entry.taken_back]
    for entry in taken_back:
        lines += [f"**{_plain(entry.name)}**: {_plain(entry.taken_back)}.", ""]
    lines += ["| model | candidate | champion | constant | decision | why |", "|---|--:|--:|--:|---|---|"]
    lines += [_row(entry) for board in boards for entry in board.entries]
    served = [row for board in boards for entry in board.entries for row in _served_row(entry)]
    if served:
        served = ["| in service | version | since, UTC | sha256 of its provenance |", "|---|---|---|---|", *served, ""]
    return "\n".join(
        [
            *lines,
            "",
            "Errors in percent of the node's power, on the same held-out rows.",
            "",
            *served,
            f"Signatures: {_plain(signatures)}.",
            "",
        ]
    )


def _row(entry: Entry) -> str:
    decision = entry.decision
    errors = [_error(score) for score in (decision.candidate, decision.champion, entry.constant)]
    bias = entry.notable_bias_percent
    errors[0] += f" (bias {signed_percent(bias)})" if bias is not None else ""
    cells = [_plain(full_name(decision)), *errors, entry.outcome.value, _plain(decision.reason)]
    return f"| {' | '.join(cells)} |"


def _served_row(entry: Entry) -> list[str]:
    serving = entry.serving
    if serving is None or serving.published is None:
        return []
    cells = (_plain(entry.name), _plain(serving.version), moment(serving.published), serving.provenance_sha256)
    return [f"| {' | '.join(cells)} |"]


def _error(score: Score | None) -> str:
    return percent(score.mape_percent) if score else "–"


def _plain(text: str) -> str:
    """Keep text from outside from being read as Markdown or HTML, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
