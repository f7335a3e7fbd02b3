"""Which node intervals are held out: a pure function of absolute time, the same in every run, forever.

A block of time is held out if a hash of its absolute start falls in the held-out fifth, so a champion of an earlier
night can never have been trained on the rows it is judged on. One interval on each side of a held-out block is used
for neither part, since measurements of neighbours share what crosses the edge.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

BLOCK_SECONDS = 60
HELD_OUT_SHARE = 5
"""One block in this many is held out."""

LONG_ENOUGH = "40 minutes are practically always enough"
"""To hold a held-out block: of forty, there is none once in 7,500 times."""

TRAINING, HELD_OUT, GAP = 0, 1, 2


def is_held_out(block_start_seconds: int) -> bool:
    """Tell whether the block that starts at this Unix time (a multiple of BLOCK_SECONDS) is held out."""
    digest = blake2b(str(block_start_seconds).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_SHARE == 0


def block_starts(timestamp_milliseconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The start, in Unix seconds, of the block that each time falls in."""
    starts: npt.NDArray[np.int64] = timestamp_milliseconds // (BLOCK_SECONDS * 1000) * BLOCK_SECONDS
    return starts


def split(timestamp_milliseconds: npt.NDArray[np.int64], interval_seconds: float) -> npt.NDArray[np.int8]:
    """Tell for each time whether it is TRAINING, HELD_OUT, or in the GAP beside a held-out block."""
    interval_milliseconds = round(interval_seconds * 1000)
    here = _held_out_at(timestamp_milliseconds)
    before = _held_out_at(timestamp_milliseconds - interval_milliseconds)
    after = _held_out_at(timestamp_milliseconds + interval_milliseconds)
    return np.where(here, HELD_OUT, np.where(before | after, GAP, TRAINING)).astype(np.int8)


def _held_out_at(timestamp_milliseconds: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    blocks, inverse = np.unique(block_starts(timestamp_milliseconds), return_inverse=True)
    flags = np.fromiter((is_held_out(int(block)) for block in blocks), dtype=np.bool_, count=len(blocks))
    return flags[inverse]
