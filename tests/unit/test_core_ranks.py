"""Ranks are those of numpy, however the values lie."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.ranks import ranks

WIDE = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(WIDE | st.integers(-20, 20), min_size=1, max_size=60))
def test_ranks_are_those_of_unique(values: list[int]) -> None:
    column = np.array(values, np.int64)
    distinct, index = ranks(column)
    assert distinct.tolist() == sorted(set(values))
    assert distinct[index].tolist() == values


@given(st.lists(st.integers(-128, 127), min_size=1, max_size=600))
def test_narrow_types_do_not_overflow(values: list[int]) -> None:
    distinct, index = ranks(np.array(values, np.int8))
    assert (distinct.dtype, index.dtype) == (np.int64, np.int64)
    assert distinct[index].tolist() == values
