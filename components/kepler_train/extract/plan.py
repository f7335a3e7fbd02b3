"""How long a range each request asks for: as long as its answer holds the samples that cost both sides least."""

from __future__ import annotations

from kepler_train.extract.forms import Form

MOST_SAMPLES = 48_000
"""A stretch with more is asked in equal ranges, each then holding between half of this and all of it."""

FIRST_MILLISECONDS = 30 * 60 * 1000
"""The range that is asked while nothing is known; with 50 pods a node it holds 30,000 samples."""

SHORTEST_MILLISECONDS = 10_000
"""No request is made shorter, whatever it holds."""

_RECOVERY = 1.2
"""How ranges grow with each answer after a server was too busy for one."""


class Plan:
    """Learns from answers how dense samples lie, and from refusals how long a range may be."""

    def __init__(self) -> None:
        self._samples_per_millisecond: dict[tuple[Form, str], float] = {}
        self._longest_milliseconds: dict[Form, int] = {}
        self._busy: set[Form] = set()

    def length(self, form: Form, node: str, remaining_milliseconds: int) -> int:
        """Choose the length in ms of the next range, of a stretch of which so much is left."""
        density = self._density(form, node)
        if density is None:
            length = FIRST_MILLISECONDS
        else:
            requests = max(1, -int(-remaining_milliseconds * density // MOST_SAMPLES))
            length = max(-(-remaining_milliseconds // requests), SHORTEST_MILLISECONDS)
        return min(length, remaining_milliseconds, self._longest_milliseconds.get(form, length))

    def learn(self, form: Form, node: str, length_milliseconds: int, samples: int) -> None:
        """Take note of what an answer held."""
        self._samples_per_millisecond[form, node] = samples / length_milliseconds
        if form in self._busy:
            self._longest_milliseconds[form] = int(self._longest_milliseconds[form] * _RECOVERY)

    def halve(self, form: Form, length_milliseconds: int, *, busy: bool) -> bool:
        """Take note that a range was too long, for good or while the server is busy; tells if a shorter one is left."""
        self._longest_milliseconds[form] = max(length_milliseconds // 2, SHORTEST_MILLISECONDS)
        (self._busy.add if busy else self._busy.discard)(form)
        return length_milliseconds > SHORTEST_MILLISECONDS

    def _density(self, form: Form, node: str) -> float | None:
        """The node's own, else that of the densest node known."""
        known = self._samples_per_millisecond
        if (form, node) in known:
            return known[form, node]
        return max((density for (of, _), density in list(known.items()) if of == form), default=None)
