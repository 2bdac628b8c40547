"""The distinct values of a column, and which of them each row has."""

import numpy as np
from numpy.typing import NDArray

_SPAN = 4
"""Values that are spread wider than so many times their number are sorted instead of counted."""


def ranks(values: NDArray[np.signedinteger]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What `numpy.unique` says with `return_inverse`, without sorting where the values lie close together.

    Args:
        values: Integers (m,), at least one.

    Returns:
        int64 (d,), the distinct values, ascending; int64 (m,), the index in them of each row's value.
    """
    least, greatest = int(values.min()), int(values.max())
    if greatest - least > _SPAN * len(values):
        distinct, index = np.unique(values.astype(np.int64), return_inverse=True)
        return distinct, index
    places = values.astype(np.int64) - least
    found = np.flatnonzero(np.bincount(places))
    order = np.zeros(greatest - least + 1, np.int64)
    order[found] = np.arange(len(found))
    return found + least, order[places]
