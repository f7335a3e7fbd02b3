"""Cuts a stream of JSON lists of series into pieces that hold whole series, without ever holding all of it.

Both an answer of Prometheus (`{"status": …, "data": {…, "result": [series, …]}, …}`) and a recording
(`{"metric": [series, …], …}`) are objects with lists of `{"metric": {…}, "values": […]}`. What is not a series is kept
as the *skeleton*: the same document with its lists emptied, small, and valid JSON only if the stream was complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

PIECE_BYTES = 256 << 10
"""What is decoded at once: small enough to stay in a CPU's cache, a quarter faster than 4 MiB."""

MOST_HEAD_BYTES = 1 << 20
"""Far more than anything writes before the first series."""

# Neither can occur inside a JSON string: there a quote is escaped, and one that opens or closes a string cannot be
# followed or preceded by these characters.
_SERIES = b'{"metric"'
_LIST_START = b"[" + _SERIES
_LIST_NAME = re.compile(rb'"([^"]*)"\s*:\s*\[\s*$')


class CutShort(ValueError):
    """The stream ended in the middle of its JSON."""


class NoSeries(ValueError):
    """The stream goes on and on, and no series begins."""


class SeriesPieces:
    """Goes through a stream once; `read(n)` gives up to n bytes, and none at the end.

    Iterating yields (name of the list, JSON array of whole series as bytes); afterwards `skeleton` is complete.
    `one_list` spares looking for the start of further lists, a tenth of the time that an answer takes.
    Raises CutShort where the last series is cut off, NoSeries where none begins: what is searched again with each
    piece that comes must not grow with the stream.
    """

    def __init__(self, read: Callable[[int], bytes], *, one_list: bool = False) -> None:
        self._read = read
        self._one_list = one_list
        self.skeleton = b""
        self._name = ""

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        rest = b""
        while chunk := self._read(PIECE_BYTES):
            rest += chunk
            cut = rest.rfind(_SERIES)
            if cut > 0:
                yield from self._complete(rest, cut)
                rest = rest[cut:]
            elif cut < 0 and len(rest) > MOST_HEAD_BYTES:
                raise NoSeries(f"no series begins in the first {len(rest)} bytes")
        if not rest.startswith(_SERIES):
            self.skeleton += rest
            return
        # Latin-1 keeps positions of characters and bytes the same; what the series says does not matter here.
        try:
            _, end = json.JSONDecoder().raw_decode(rest.decode("latin-1"))
        except ValueError as cause:
            raise CutShort("the stream ends in the middle of a series") from cause
        yield self._name, b"[" + rest[:end] + b"]"
        self.skeleton += rest[end:]

    def _complete(self, block: bytes, cut: int) -> Iterator[tuple[str, bytes]]:
        """Yield the series before `cut`, where another one starts, and put what is between lists into the skeleton."""
        start = 0
        while not (self._one_list and self._name):
            bracket = block.find(_LIST_START, start, cut + len(_SERIES))
            if bracket < 0:
                break
            end = block.rfind(b"}", start, bracket) + 1 if self._name else 0
            if end > start:
                yield self._name, _array(block, start, end)
            start = bracket + 1
            self.skeleton += block[end:start]
            found = _LIST_NAME.search(self.skeleton)
            self._name = found[1].decode() if found else ""
        if start < cut:
            yield self._name, _array(block, start, block.rfind(b"}", start, cut) + 1)


def _array(block: bytes, start: int, end: int) -> bytes:
    return b"".join((b"[", memoryview(block)[start:end], b"]"))
