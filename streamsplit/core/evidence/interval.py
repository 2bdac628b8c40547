"""How many times control's error rate the candidate's is, for people: an interval that may be looked at at any time.

A ratio r is outside once the evidence against exactly r, a mixture over 64 ratios, reaches 1/alpha; so the chance that
the true ratio is ever outside is at most alpha (Howard, Ramdas, McAuliffe, Sekhon 2021). Decisions do not use it.
"""

import math

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence import errors
from streamsplit.core.evidence.mixture import log_mean, uniform

RATIOS = np.geomspace(1 / 16, 16, 64)
"""float64 (64,), ascending; the error rate of the candidate over control's."""

_WEIGHTS = uniform(len(RATIOS))


def increment(counts: errors.Counts | errors.CountColumns) -> NDArray[np.float64]:
    """What a dose says about the ratio: log-likelihoods of `RATIOS`, given how many errors there were.

    Args:
        counts: One dose or d of them.

    Returns:
        float64 (64,), less the log-likelihood of the ratio 1, so that the numbers stay small; (d, 64) for columns.
        Zeros where an arm had no requests.
    """
    return errors.increment(counts, ratio=1.0, floor=0.0, factors=RATIOS)


def of(accumulated: NDArray[np.float64], alpha: float) -> tuple[float, float]:
    """The interval.

    Args:
        accumulated: float64 (64,), sum of increments; finite.
        alpha: Chance that the true ratio is ever outside; above 0 and below 1.

    Returns:
        Low and high end, low below high. Each is the innermost of `RATIOS` that is excluded on its side, so that true
        ratios between two of them are covered too; or 1/16 or 16 where none is excluded, which then means "or beyond".
        (1/16, 16) says nothing. The likeliest of `RATIOS` is never excluded, so there always is an interval: where the
        true ratio lies beyond the grid it is the outermost one, such as (14.7, 16).

    Raises:
        ValueError: `alpha` is not between 0 and 1, or a number is NaN.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"expected an alpha above 0 and below 1, got {alpha}")
    # the log-likelihood is concave in log r: what is left is one stretch of the grid
    left = np.flatnonzero(log_mean(accumulated, _WEIGHTS) - accumulated < -math.log(alpha))
    return float(RATIOS[max(left[0] - 1, 0)]), float(RATIOS[min(left[-1] + 1, len(RATIOS) - 1)])
