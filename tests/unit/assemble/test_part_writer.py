from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kepler_train.assemble.part_writer import first_times


@given(counts=st.lists(st.integers(0, 12), min_size=1, max_size=60), most=st.integers(1, 20))
def test_row_groups_are_whole_intervals_as_full_as_allowed(counts, most):
    times = np.arange(len(counts), dtype=np.int64) * 3000
    starts = np.searchsorted(times, first_times(times, np.repeat(times, counts), most))
    assert starts[0] == 0
    groups = np.split(np.array(counts), starts[1:])
    assert all(len(group) == 1 or group.sum() <= most for group in groups)
    assert all(group.sum() + following[0] > most for group, following in pairwise(groups))
