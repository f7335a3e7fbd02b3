"""What a person sees of one evaluation: its page, and the few figures that a user interface lists beside it."""

from __future__ import annotations

from pathlib import Path

from kepler_train.contract.models import Decision
from kepler_train.report.entries import read_entry
from kepler_train.report.outcome import constant_of, outcome_of
from kepler_train.report.page import write_page
from kepler_train.report.plots import error_axis, error_range
from kepler_train.report.trace import CANDIDATE, CHAMPION, MEASURED


def write(decision: Path, html: Path) -> None:
    """Write the page of one decision's folder to a file; raises BrokenContract where it is no decision."""
    entry = read_entry(decision)
    ends = error_range(entry.errors_percent)
    champion = ((CHAMPION, "champion"),) if entry.decision.champion else ()
    write_page(
        "evaluation.html",
        html,
        entry=entry,
        track=entry.track(ends),
        axis=error_axis(ends),
        plots=entry.node_plots(((MEASURED, "measured"), *champion, (CANDIDATE, "candidate"))),
        residuals=entry.residual_plot(),
        curve=entry.curve_plot(),
    )


def metrics(decision: Decision) -> dict[str, float | str]:
    """Name the figures of a decision: errors, bias and improvement in percent, and the decision as a word."""
    figures: dict[str, float | str] = {"decision": outcome_of(decision).value}
    scores = {"candidate": decision.candidate, "champion": decision.champion, "constant": constant_of(decision)}
    for name, score in scores.items():
        if score is not None:
            figures[f"{name}_error_percent"] = round(score.mape_percent, 3)
    if decision.candidate is not None:
        figures["candidate_busy_error_percent"] = round(decision.candidate.busy_mape_percent, 3)
        figures["candidate_bias_percent"] = round(decision.candidate.bias_percent, 3)
        figures["improvement_percent"] = round(decision.improvement_percent, 3)
        figures["improvement_noise_percent"] = round(decision.noise_percent, 3)
    if decision.whole_node is not None and decision.whole_node.score is not None:
        figures["whole_node_error_percent"] = round(decision.whole_node.score.mape_percent, 3)
    return figures
