"""One pipeline's result as a page shows it: its decision, what was judged, its plots and the sentences beside them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from markupsafe import Markup

from kepler_train.contract.curves import CURVE_FILE, PodCurve
from kepler_train.contract.models import (
    CANDIDATE_FILE,
    TRACE_FILE,
    Candidate,
    Decision,
    Score,
    read_candidate,
    read_decision,
)
from kepler_train.contract.pages import evaluation_page
from kepler_train.contract.window import INTERVAL_SECONDS
from kepler_train.report import plots, trace
from kepler_train.report.evidence import IdleRow, idle_rows, idle_summary, split_figures, split_sentences
from kepler_train.report.history import Point
from kepler_train.report.outcome import Outcome, constant_of, full_name, outcome_of
from kepler_train.report.serving import Serving
from kepler_train.report.trace import CANDIDATE, CHAMPION, NodeFit, TimeLine
from kepler_train.report.words import many, percent, share

_MOST_NODES_PLOTTED = 3
NOTABLE_BIAS_PERCENT = 5.0
"""A relative error hides that a weak model predicts too little: beyond this, its bias stands beside it."""


@dataclass(frozen=True)
class NodePlot:
    """Power over time of one node, with the sentence under it."""

    title: str
    caption: str
    plot: Markup


@dataclass(frozen=True)
class Entry:
    """One decision folder, read."""

    decision: Decision
    candidate: Candidate | None
    trace: Path | None
    curve: PodCurve | None = None
    """None where no estimator could ask the candidate."""
    serving: Serving | None = None
    """What the store serves under this name now; None where that is not known."""

    @property
    def name(self) -> str:
        """Group and model name, as people and the run's log say it."""
        return full_name(self.decision)

    @property
    def anchor(self) -> str:
        """The entry's id in the page."""
        return f"model-{self.decision.group.value}-{self.decision.model_name}"

    @property
    def page(self) -> str:
        """The file of the candidate's own page."""
        return evaluation_page(self.decision.group, self.decision.model_name)

    @property
    def outcome(self) -> Outcome:
        """What became of the candidate, in the decision and in the store."""
        unserved = self.decision.improved and self.serving is not None and self.serving.problem
        return Outcome.UNSERVED if unserved else outcome_of(self.decision)

    @property
    def published(self) -> bool:
        """Tell whether the candidate is what is served now."""
        return self.outcome in {Outcome.REPLACED, Outcome.FIRST}

    @property
    def taken_back(self) -> str:
        """What a person must know first: the champion was worse than the version before; empty if it was not."""
        canary = self.decision.canary
        if canary is None or not canary.worse or canary.score is None or canary.before_score is None:
            return ""
        error, before = percent(canary.score.mape_percent), percent(canary.before_score.mape_percent)
        noise = percent(canary.noise_percent / 100 * canary.before_score.mape_percent)
        return (
            f"{canary.version}, served since the last run, is off by {error} on this run's held-out rows, and "
            f"{canary.before} before it by {before} (± {noise}): "
            + ("it is taken back, and no run serves it again" if self.is_taken_back else "it was to be taken back")
        )

    @property
    def is_taken_back(self) -> bool:
        """Tell whether the champion proved worse than the version before, and is not served any more."""
        canary = self.decision.canary
        return canary is not None and canary.worse and self.served_version != canary.version

    @property
    def constant(self) -> Score | None:
        """The best trivial baseline."""
        return constant_of(self.decision)

    @property
    def served_score(self) -> Score | None:
        """The score of what is in service after the run; None where that is nothing, or was not scored in this run."""
        if self.published:
            return self.decision.candidate
        if self.served_version == self.decision.champion_version:
            return self.decision.champion
        canary = self.decision.canary  # of a champion that was to be taken back
        return canary.score if canary is not None and self.served_version == canary.version else None

    @property
    def served_version(self) -> str:
        """The version in service after the run; empty where there is none, or nobody knows."""
        if self.serving is None:
            return "" if self.published else self.decision.champion_version
        return self.serving.version

    def history(self, ended: datetime) -> tuple[Point, ...]:
        """The errors of what was in service under this name, and is at the end of this run; none where unknown."""
        if self.serving is None or not self.serving.version:
            return ()
        if self.published or self.served_score is None:
            return self.serving.history
        return (*self.serving.history, Point(ended, self.serving.version, self.served_score.mape_percent))

    @property
    def unscored_version(self) -> str:
        """What is in service without having been scored in this run; empty if there is none."""
        return "" if self.served_score else self.served_version

    @property
    def shown_column(self) -> str:
        """The trace column to plot: of what is in service, else of the candidate."""
        return CHAMPION if self.decision.champion is not None and not self.published else CANDIDATE

    @property
    def interval_seconds(self) -> float:
        """The sampling interval that energies are per."""
        return self.candidate.window.interval_seconds if self.candidate else INTERVAL_SECONDS

    @property
    def errors_percent(self) -> list[float]:
        """All errors that the entry's track shows."""
        scores = (self.decision.candidate, self.decision.champion, self.constant)
        return [score.mape_percent for score in scores if score is not None]

    @property
    def comparison(self) -> str:
        """The candidate against its reference, with the noise of the comparison."""
        gain = self.decision.improvement_percent
        reference = "the champion's" if self.decision.champion else "a constant's"
        direction = "smaller" if gain >= 0 else "larger"
        return f"{percent(abs(gain))} {direction} than {reference}, ± {percent(self.decision.noise_percent)}"

    def track(self, ends: plots.Range) -> Markup:
        """Draw the entry's errors on the page's shared axis; nothing where there is no candidate."""
        candidate = self.decision.candidate
        if candidate is None:
            return Markup("")
        reference = self.decision.champion or self.constant
        half = reference.mape_percent * self.decision.noise_percent / 100 if reference else 0.0
        champion = self.decision.champion.mape_percent if self.decision.champion else None
        constant = self.constant.mape_percent if self.constant else None
        spoken = [f"Error of {self.name}: candidate {percent(candidate.mape_percent)}"]
        spoken += [f"noise of the comparison ± {percent(half)}"] if half else []
        spoken += [f"champion {percent(champion)}"] if champion is not None else []
        spoken += [f"a constant {percent(constant)}"] if constant is not None else []
        noise = (candidate.mape_percent - half, candidate.mape_percent + half)
        return plots.error_track(
            candidate.mape_percent, champion, constant, noise=noise, ends=ends, label=", ".join(spoken)
        )

    @cached_property
    def block_plot(self) -> Markup:
        """Draw the paired differences over blocks."""
        return plots.block_bars(self._differences(), f"Differences by block of {self.name}: {self.block_words}")

    @property
    def block_words(self) -> str:
        """Say in how many blocks the candidate was the better one."""
        differences = self._differences()
        better = sum(difference < 0 for difference in differences)
        reference = "the champion" if self.decision.champion else "a constant"
        return (
            f"the candidate is closer than {reference} in {better} of {many(len(differences), 'held-out block')} "
            f"({share(better, len(differences))})"
        )

    def _differences(self) -> list[float]:
        return [block.candidate_mape_percent - block.reference_mape_percent for block in self.decision.blocks]

    @cached_property
    def node_fits(self) -> tuple[NodeFit, ...]:
        """How well each node is met by what the entry plots."""
        return trace.node_fits(self.trace, self.shown_column) if self.trace else ()

    @property
    def idle_rows(self) -> list[IdleRow]:
        """Idle by node; of many nodes the least sure ones."""
        lowest = {fit.node: fit.lowest_millijoules for fit in self.node_fits}
        return idle_rows(self.candidate, lowest) if self.candidate else []

    @property
    def idle_summary(self) -> str:
        """What tells the nodes' idle energies."""
        return idle_summary(self.candidate) if self.candidate else ""

    @property
    def split_sentences(self) -> list[str]:
        """How well the split is determined, in words; none where that was not measured."""
        split = self.candidate.split_evidence if self.candidate else None
        return [*split_sentences(split), split_figures(split)] if split else []

    @property
    def notable_bias_percent(self) -> float | None:
        """The candidate's bias where it is worth a word beside the error."""
        score = self.decision.candidate
        return score.bias_percent if score and abs(score.bias_percent) >= NOTABLE_BIAS_PERCENT else None

    def node_plots(self, curves: tuple[tuple[str, str], ...]) -> list[NodePlot]:
        """Draw power over time for up to three nodes: all, or those met typically, best and worst."""
        if self.trace is None:
            return []
        plotted = []
        for fit, rank in _showcase(self.node_fits):
            line = trace.time_line(self.trace, fit.node, self.interval_seconds)
            title = f"{fit.node} · {rank}{percent(fit.error_percent)} off"
            spoken = f"Measured and predicted power of {fit.node} over the held-out time of {self.name}: {title}"
            plotted.append(NodePlot(title, self._caption(line), plots.power_over_time(line, curves, spoken)))
        return plotted

    def _caption(self, line: TimeLine) -> str:
        sentences = []
        if line.gaps:
            sentences.append("Shaded: time between held-out blocks, not to scale.")
        elif line.runs[-1]:
            sentences.append("Held-out blocks stand side by side; the time between them is left out.")
        one_in = self.decision.held_out.get("node_intervals", 0) / sum(fit.node_intervals for fit in self.node_fits)
        if one_in > 1.5:
            sentences.append(f"One in {one_in:.0f} held-out intervals is drawn.")
        if line.rows_per_point > 1.5:
            sentences.append(f"Each point is the mean of about {line.rows_per_point:.0f} intervals.")
        return " ".join(sentences)

    def residual_plot(self) -> Markup:
        """Draw the candidate's residuals against measured power, over all nodes."""
        cells = trace.residuals(self.trace, CANDIDATE, self.interval_seconds) if self.trace else None
        if cells is None or not len(cells.counts):
            return Markup("")
        return plots.residual_plot(cells, f"Predicted minus measured power of {self.name}, against measured power")

    def curve_plot(self) -> Markup:
        """Draw the candidate's power of one pod over its activity."""
        if self.curve is None or not self.curve.values:
            return Markup("")
        return plots.pod_curve(
            self.curve, self.interval_seconds, f"Power of one pod that {self.name} answers, over {self.curve.feature}"
        )


def read_entry(folder: Path) -> Entry:
    """Read a decision's folder; what was judged and the trace are there unless the candidate failed."""
    return Entry(
        decision=read_decision(folder),
        candidate=read_candidate(folder) if (folder / CANDIDATE_FILE).is_file() else None,
        trace=folder / TRACE_FILE if (folder / TRACE_FILE).is_file() else None,
        curve=PodCurve.read(folder / CURVE_FILE) if (folder / CURVE_FILE).is_file() else None,
    )


def _showcase(fits: tuple[NodeFit, ...]) -> list[tuple[NodeFit, str]]:
    ordered = sorted(fits, key=lambda fit: fit.error_percent)
    if len(ordered) <= _MOST_NODES_PLOTTED:
        return [(fit, "") for fit in sorted(ordered, key=lambda fit: fit.node)]
    of = f" of {len(ordered)} nodes, "
    return [
        (ordered[len(ordered) // 2], f"typical{of}"),
        (ordered[-1], f"worst{of}"),
        (ordered[0], f"best{of}"),
    ]
