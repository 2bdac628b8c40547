"""Windows of request time, and what is counted in one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Outcome

_INT64_MIN = -(2**63)


def windows_of(window_ms: int, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """The window of each time, counted from the epoch's: int64 (m,); it begins at its number times `window_ms`.

    Args:
        window_ms: Length of a window in milliseconds; positive.
        times: int64 (m,), milliseconds since the epoch; any int64. The window of a time less than one window after the
            least int64 is the next one, whose beginning is an int64.
    """
    windows: NDArray[np.int64] = np.maximum(times // window_ms, _INT64_MIN // window_ms + 1)
    return windows


def by_label(counts: Sequence[int]) -> dict[str, int]:
    """Outcome's label → count, of those that occurred, given the counts by code."""
    return {outcome.label: counts[outcome] for outcome in Outcome if counts[outcome]}
