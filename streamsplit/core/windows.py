"""Windows of request time, and what is counted in one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import Outcome

_INT64_MIN = -(2**63)
_LABELS = tuple(outcome.label for outcome in Outcome)


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
    return {label: count for label, count in zip(_LABELS, counts, strict=True) if count}


def window_start(window_ms: int, time: int) -> int:
    """Where the window of a time begins, milliseconds since the epoch, given its length in milliseconds (positive)."""
    return time // window_ms * window_ms
