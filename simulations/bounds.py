"""What chance alone explains: how many false alarms, and how large a mean."""

import math

import numpy as np
from numpy.typing import NDArray

DOUBT = 1e-4
"""Chance that a test whose false alarms are exactly alpha is called broken."""

_ERRORS = 3.719
"""Standard errors that a normal mean exceeds with a chance of `DOUBT`."""


def allowed(runs: int, alpha: float, doubt: float = DOUBT) -> int:
    """The most false alarms in independent runs that have one with a chance of `alpha` each, but for `doubt`.

    Args:
        runs: How many; positive.
        alpha: Above 0 and below 1.
        doubt: The chance that there are more; above 0.

    Returns:
        The least k with P(X > k) < `doubt` for X binomial.
    """
    beyond, alarms = 1.0, -1
    while beyond >= doubt:
        alarms += 1
        beyond -= _chance(alarms, runs, alpha)
    return alarms


def surely_above(found: NDArray[np.float64], most: float) -> bool:
    """Whether the mean of what independent runs found is more above `most` than chance explains.

    Args:
        found: float64 (runs,); +inf where a run found nothing, which is above whatever it is compared with.
        most: What it may be on average.
    """
    if not np.isfinite(found).all():
        return True
    return bool(found.mean() - _ERRORS * found.std() / math.sqrt(len(found)) > most)


def _chance(alarms: int, runs: int, alpha: float) -> float:
    log_ways = math.lgamma(runs + 1) - math.lgamma(alarms + 1) - math.lgamma(runs - alarms + 1)
    return math.exp(log_ways + alarms * math.log(alpha) + (runs - alarms) * math.log1p(-alpha))
