"""One window out of several extractions, each of which read other nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from kepler_train.contract.errors import BrokenContract
from kepler_train.contract.window import Span, Window, WindowSummary


def joined(summaries: Sequence[WindowSummary]) -> WindowSummary:
    """Sum up what extractions read of a window; raises BrokenContract where it was not one, or a node came twice."""
    window = summaries[0].window
    if other := next((summary for summary in summaries if summary.window != window), None):
        raise BrokenContract(
            f"these are windows of two runs, {window.run_id} and {other.window.run_id}; assemble one of them"
        )
    nodes = Counter(node for summary in summaries for node in summary.nodes)
    if twice := sorted(node for node, times in nodes.items() if times > 1):
        raise BrokenContract(f"{', '.join(twice)} was extracted twice for {window.run_id}; extract this window again")
    missing = [set(summary.missing_metrics) for summary in summaries]
    return WindowSummary(
        window=window,
        spans=_joined_spans(window, [span for summary in summaries for span in summary.spans]),
        rows=dict(_sum(summary.rows for summary in summaries)),
        set_apart=_joined_reasons(summary.set_apart for summary in summaries),
        missing_metrics=tuple(
            metric for metric in summaries[0].missing_metrics if metric in set.intersection(*missing)
        ),
        nodes=tuple(sorted(nodes)),
    )


def _joined_spans(window: Window, found: list[Span]) -> tuple[Span, ...]:
    """The hull of what was found of each asked span; of recordings, of what overlaps."""
    hulls: list[Span] = []
    for span in sorted(found, key=lambda span: span.start):
        last = hulls[-1] if hulls else None
        if last and (
            span.start < last.end or any(_within(last, asked) and _within(span, asked) for asked in window.spans)
        ):
            hulls[-1] = Span(last.start, max(last.end, span.end))
        else:
            hulls.append(span)
    return tuple(hulls)


def _within(span: Span, asked: Span) -> bool:
    return asked.start <= span.start and span.end <= asked.end


def _joined_reasons(parts: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    by_table: dict[str, list[dict[str, int]]] = {}
    for part in parts:
        for table, reasons in part.items():
            by_table.setdefault(table, []).append(reasons)
    return {table: dict(sorted(_sum(of_table).items())) for table, of_table in sorted(by_table.items())}


def _sum(counts: Iterable[dict[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total
