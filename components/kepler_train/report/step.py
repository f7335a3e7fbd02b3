"""The report step: the leaderboard page of a run, its Markdown table, and the names of what failed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from kepler_train.contract.documents import write_atomically
from kepler_train.contract.evidence import DETERMINED_CONDITION, GUESS_CONDITION
from kepler_train.contract.pages import EVALUATION_PAGES
from kepler_train.contract.parts import read_part
from kepler_train.contract.runs import RunRecord, ServiceError
from kepler_train.contract.tables import METRIC_OF_TABLE
from kepler_train.contract.window import SUMMARY_FILE, WindowSummary
from kepler_train.report.entries import Entry, read_entry
from kepler_train.report.leaderboard import boards_of, notes_of, set_apart
from kepler_train.report.markdown import markdown_of
from kepler_train.report.outcome import headline
from kepler_train.report.page import write_page
from kepler_train.report.plots import error_axis, error_range
from kepler_train.report.serving import read_serving, signing_words
from kepler_train.report.told import told, warnings


def run(decisions: Sequence[Path], parts: Sequence[Path], store: str, *, html: Path, markdown: Path) -> RunRecord:
    """Write the leaderboard and return the run's record: what failed, and how far off what is in service is.

    `decisions` are evaluations' folders, `parts` held-out parts, one per group, each with the window's summary; `html`
    and `markdown` are files. A store that is away is said in the page. The page links to evaluations' pages where the
    environment names their folder, as in a local run; else it has no links, since in the frame that an engine shows it
    in none would work. Raises BrokenContract for a folder that is not what it should be.
    """
    entries = [read_entry(folder) for folder in decisions]
    serving, store_problem = read_serving(store, [entry.decision for entry in entries])
    entries = [replace(entry, serving=serving.get(entry.name)) for entry in entries]
    held_out = [read_part(folder) for folder in parts]
    summary = WindowSummary.read(parts[0] / SUMMARY_FILE)
    record = _record(summary.window.run_id, entries)
    boards, signatures = boards_of(entries, held_out, record.ended), signing_words(store)
    ends = error_range(error for entry in entries for error in entry.errors_percent)
    counts, failures = headline(
        [(entry.decision, entry.outcome) for entry in entries], sum(entry.is_taken_back for entry in entries)
    )
    write_page(
        "leaderboard.html",
        html,
        counts=counts,
        failures=failures,
        boards=boards,
        told=told(boards),
        warnings=warnings(boards),
        determined_condition=DETERMINED_CONDITION,
        guess_condition=GUESS_CONDITION,
        entries=entries,
        used_outcomes={entry.outcome for entry in entries},
        ends=ends,
        axis=error_axis(ends),
        store_problem=store_problem,
        window=summary,
        rows={table: summary.rows.get(table, 0) for table in METRIC_OF_TABLE},
        set_apart=set_apart(summary, held_out),
        notes=notes_of(held_out),
        runtimes=_runtimes(entries),
        served=[entry for board in boards for entry in board.entries if entry.serving and entry.serving.version],
        signatures=signatures,
        pages=os.environ.get(EVALUATION_PAGES, ""),
    )
    write_atomically(markdown, markdown_of(counts, failures, boards, store_problem, signatures).encode())
    return record


def _record(run_id: str, entries: Sequence[Entry]) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        ended=datetime.now(timezone.utc),
        failed=tuple(entry.name for entry in entries if entry.decision.failed),
        errors={
            entry.name: ServiceError(entry.served_version, entry.served_score.mape_percent)
            for entry in entries
            if entry.served_score and entry.served_version
        },
    )


def _runtimes(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Sort models' names by the versions they were trained with."""
    runtimes: dict[str, list[str]] = {}
    for entry in entries:
        if entry.candidate and entry.candidate.runtime:
            versions = ", ".join(f"{library} {version}" for library, version in sorted(entry.candidate.runtime.items()))
            runtimes.setdefault(f"{entry.candidate.runtime_name}: {versions}", []).append(entry.name)
    return runtimes
