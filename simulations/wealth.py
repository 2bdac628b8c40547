"""Paths of e-values of many runs at once."""

import math

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.mixture import log_means
from streamsplit.core.evidence.restarts import EVERY, slow_weight


def with_restarts(
    increments: NDArray[np.float64], weights: NDArray[np.float64], *, every: int = EVERY
) -> NDArray[np.float64]:
    """What `Restarting.log_e` is after each window, for many runs.

    Args:
        increments: float64 (runs, windows, J).
        weights: float64 (J,), of the bets.
        every: Windows from one start to the next.

    Returns:
        float64 (runs, windows).
    """
    runs, windows, _ = increments.shape
    wealth = np.full((runs, len(weights)), -np.inf)
    cash, path = 1.0, np.empty((runs, windows))
    for window in range(windows):
        if window % every == 0:
            placed = slow_weight(window // every)
            cash -= placed
            wealth = np.logaddexp(wealth, math.log(placed))
        wealth += increments[:, window]
        path[:, window] = np.logaddexp(math.log(cash), log_means(wealth, weights))
    return path


def without_restarts(increments: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same of evidence that begins once, such as that for a promotion: float64 (runs, windows)."""
    return log_means(np.cumsum(increments, axis=1), weights)


def ever(log_e: NDArray[np.float64], alpha: float) -> NDArray[np.bool_]:
    """Which runs reach 1/alpha in some window: bool (runs,)."""
    reached: NDArray[np.bool_] = log_e.max(axis=1) >= -math.log(alpha)
    return reached


def until(reached: NDArray[np.bool_], used: NDArray[np.int64]) -> NDArray[np.float64]:
    """What was used up to the first window that reached it.

    Args:
        reached: bool (runs, windows).
        used: int64 (runs, windows), used in each window.

    Returns:
        float64 (runs,); +inf where no window did.
    """
    total = np.cumsum(used, axis=1)
    found: NDArray[np.float64] = np.where(
        reached.any(axis=1), total[np.arange(len(total)), reached.argmax(axis=1)], np.inf
    )
    return found
