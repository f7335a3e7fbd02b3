"""Random numbers that are a pure function of a key and an absolute index, so that any span of time can be asked for.

A drawn value depends on nothing that was drawn before it: a cluster's second hour is the same whether or not its
first was simulated. Bits are splitmix64's (Steele, Lea and Flood, 2014), the same on every machine and for every
version of NumPy. Throughout, `keys` is (s,), one key per pod or other thing that varies by itself; `index` is (t,),
absolute interval numbers; results are (t, s).
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def key_of(*parts: object) -> np.uint64:
    """Make one key of anything that has a stable text, such as a seed, a node's name and what is drawn."""
    return np.uint64(int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big"))


def keys_of(things: int, *parts: object) -> Keys:
    """Make a key per thing."""
    return np.array([key_of(*parts, thing) for thing in range(things)], dtype=np.uint64)


def bits(keys: Keys, index: Ints) -> Keys:
    """Draw 64 random bits for every index and key; `index` may be (t,) or already (t, s)."""
    counter = index.astype(np.uint64)
    if counter.ndim == 1:
        counter = counter[:, None]
    mixed: Keys = keys[None, :] + counter * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))


def uniform(keys: Keys, index: Ints) -> Floats:
    """Draw from [0, 1)."""
    return _unit(bits(keys, index))


def normal(keys: Keys, index: Ints) -> Floats:
    """Draw with mean 0 and variance 1, bell-shaped and within ±3.5: the sum of four uniform 16-bit numbers."""
    drawn = bits(keys, index)
    fields = drawn.view(np.uint16).reshape(*drawn.shape, 4)
    # Irwin and Hall's distribution of four, shifted and scaled.
    total = fields.sum(axis=-1, dtype=np.int64).astype(np.float64)
    bell: Floats = (total * 2.0**-16 - 2.0 + 2.0**-15) * 3.0**0.5
    return bell


def smooth(keys: Keys, index: Ints, every: float) -> Floats:
    """Draw a smooth wander with mean 0 and variance 1 that forgets itself in about `every` intervals."""
    position = index[:, None] / every + _unit(keys)
    before = np.floor(position).astype(np.int64)
    first = int(before.min())
    knots = normal(keys, np.arange(first, int(before.max()) + 2, dtype=np.int64))
    toward = 0.5 - 0.5 * np.cos(np.pi * (position - before))
    left = np.take_along_axis(knots, before - first, axis=0)
    right = np.take_along_axis(knots, before - first + 1, axis=0)
    wander: Floats = (1.0 - toward) * left + toward * right
    return wander / np.hypot(1.0 - toward, toward)


def stretches(keys: Keys, index: Ints, every: float | Floats) -> tuple[Ints, Floats]:
    """Cut time into stretches of about `every` intervals; returns each index's stretch number and intervals into it."""
    position = index[:, None] / every + _unit(keys)
    number = np.floor(position).astype(np.int64)
    # A stretch starts up to six tenths of its length late, so that lengths vary from 0.4 to 1.6.
    late = 0.6 * uniform(keys, number)
    number = np.where(position - number < late, number - 1, number)
    into = (position - number - 0.6 * uniform(keys, number)) * every
    return number, into


def _unit(drawn: Keys) -> Floats:
    unit: Floats = (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return unit
