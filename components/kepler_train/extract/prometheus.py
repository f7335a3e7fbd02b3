"""Reads raw samples from a Prometheus: one node a request, each stored sample once, with its own timestamp.

Raw samples come from range-vector selectors in instant queries; a range query would move every timestamp. One node a
request, and 25,000 to 50,000 samples, is what costs the server least: a request without the node walks every series
of the metric, whatever its range.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from kepler_train.contract.errors import SourceError
from kepler_train.contract.tables import METRIC_OF_TABLE, NODE_STAT, POD_STAT
from kepler_train.contract.window import PrometheusSource, Span
from kepler_train.extract.connection import Connection, Credentials, TooMuch
from kepler_train.extract.convert import Answer, lead_of
from kepler_train.extract.decode import Decoder, NotSeries, Raw
from kepler_train.extract.forms import Form
from kepler_train.extract.pieces import SeriesPieces
from kepler_train.extract.plan import Plan
from kepler_train.extract.resolve import check_url
from kepler_train.extract.shards import Shard, stretches

_TIMEOUTS_IN_A_ROW = 5


class PrometheusReader:
    """Answers for each shard of the asked spans; safe to use from several threads."""

    streams = 2
    """Requests at once: one is decoded while the server works on the other; more cost it memory and gain nothing."""

    def __init__(self, source: PrometheusSource, spans: tuple[Span, ...]) -> None:
        check_url(source.url)
        self._connection = Connection(source.url, Credentials.from_environment(os.environ))
        self._selector = source.selector
        self._plan = Plan()
        self._timeouts = 0
        self.spans = spans

    def close(self) -> None:
        """Give the connections back."""
        self._connection.close()

    def shards(self) -> list[Shard]:
        """All shards to be, one stretch after the other; nodes are those with pods or energy in the span."""
        return [
            Shard(node, start, end)
            for span in self.spans
            for nodes in [self._nodes(span)]
            for start, end in stretches(span)
            for node in nodes
        ]

    def answers(self, form: Form, shard: Shard) -> Iterator[Answer]:
        """Give a metric's samples of a shard, in the order of time, each sample in one answer."""
        position = shard.start_ms
        while position < shard.end_ms:
            length = self._plan.length(form, shard.node, shard.end_ms - position)
            after, until = position, position + length
            try:
                raw = self._samples(form, shard.node, after - lead_of(form), until)
            except TooMuch as cause:
                self._timeouts += cause.timed_out
                if not self._plan.halve(form, length, busy=cause.timed_out) or self._timeouts >= _TIMEOUTS_IN_A_ROW:
                    raise SourceError(
                        f"Prometheus at {self._connection.url} {cause} to {length / 1000:.0f} s of {form.metric} "
                        f"of {shard.node}; raise --query.max-samples or --query.timeout, or ask when it is less busy"
                    ) from cause
                continue
            self._timeouts = 0
            self._plan.learn(form, shard.node, length + lead_of(form), len(raw))
            yield Answer(after, raw)
            position = until

    def _nodes(self, span: Span) -> list[str]:
        series = [f"{METRIC_OF_TABLE[table]}{{{self._selector}}}" for table in (POD_STAT, NODE_STAT)]
        try:
            nodes = self._connection.label_values("instance", series, span.start.timestamp(), span.end.timestamp())
        except TooMuch as cause:
            raise SourceError(
                f"Prometheus at {self._connection.url} {cause} when asked for its nodes; "
                "ask for a shorter window, or when it is less busy"
            ) from cause
        return sorted(nodes)

    def _samples(self, form: Form, node: str, after_ms: int, until_ms: int) -> Raw:
        matchers = ",".join(
            part for part in (self._selector.strip().rstrip(","), f'instance="{_quoted(node)}"') if part
        )
        query = f"{form.metric}{{{matchers}}}[{until_ms - after_ms}ms]"

        def consume(pieces: SeriesPieces) -> Raw:
            decoder = Decoder(form.of_one_node)
            for _, piece in pieces:
                decoder.add(piece)
            return decoder.take()

        try:
            raw = self._connection.read(query, until_ms / 1000, consume)
        except NotSeries as cause:
            raise SourceError(
                f"Prometheus at {self._connection.url} answered JSON that holds no samples: {cause}; is it one?"
            ) from cause
        # Prometheus 2 answers a range that is closed on both sides, 3 one that is open at its start.
        within = (raw.timestamp_ms > after_ms) & (raw.timestamp_ms <= until_ms)
        return raw if within.all() else raw.take(np.flatnonzero(within))


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
