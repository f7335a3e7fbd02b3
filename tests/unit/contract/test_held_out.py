import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kepler_train.contract.held_out import BLOCK_SECONDS, GAP, HELD_OUT, TRAINING, block_starts, is_held_out, split

A_MONTH = np.arange(0, 30 * 86400, BLOCK_SECONDS) + 1_700_000_040 // BLOCK_SECONDS * BLOCK_SECONDS


def test_about_a_fifth_of_all_blocks_is_held_out():
    share = np.mean([is_held_out(int(start)) for start in A_MONTH])
    assert 0.19 < share < 0.21


def test_these_blocks_are_held_out_forever():
    # A change of the hash would let a champion be judged on rows that it was trained on.
    first = [int(start) for start in A_MONTH if is_held_out(int(start))][:4]
    assert first == [1700000400, 1700000940, 1700001000, 1700001060]


@given(start=st.integers(0, 4_000_000_000), seconds=st.integers(3, 900), cut=st.integers(0, 300))
def test_a_time_falls_in_the_same_part_whatever_the_window(start, seconds, cut):
    times = (np.arange(start, start + seconds, 3) * 1000).astype(np.int64)
    assert (split(times, 3.0)[cut:] == split(times[cut:], 3.0)).all()


@given(start=st.integers(0, 4_000_000_000), jitter=st.integers(0, 999))
def test_an_interval_on_each_side_of_a_held_out_block_is_in_neither_part(start, jitter):
    times = (np.arange(start, start + 1200, 3) * 1000 + jitter).astype(np.int64)
    parts = split(times, 3.0)
    held_out = np.array([is_held_out(int(block)) for block in block_starts(times)])
    assert ((parts == HELD_OUT) == held_out).all()
    beside = np.zeros(len(times), dtype=bool)
    beside[1:] |= held_out[:-1]
    beside[:-1] |= held_out[1:]
    inner = slice(1, -1)
    assert ((parts == GAP) == (beside & ~held_out))[inner].all()
    assert ((parts == TRAINING) == (~beside & ~held_out))[inner].all()
