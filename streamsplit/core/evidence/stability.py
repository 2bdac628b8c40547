"""How far apart two histograms are, in size and in sureness.

The size is the population stability index over groups that hold a tenth of control's values each,
sum_k (a_k - b_k) log(a_k / b_k) for control's shares a and the candidate's b. Any real change of a model is certain to
show soon, so it is the size that decides. Its bias under no shift, (B - 1)(1/n_a + 1/n_b) for B groups, is taken off;
its standard error is by the delta method.

Beside it an e-process says how sure it is that there is any shift: both arms' shares are predicted from earlier doses
and held against one share for both. By the inequality of the means, the expected factor of a dose is at most 1 where
both arms have one distribution: with p_0 the mean of p_a and p_b weighted by n_a and n_b,
(sum theta p_a / p_0)^n_a (sum theta p_b / p_0)^n_b <= 1.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.summary import SCORE_BINS

GROUPS = 10
"""Groups of about equal size among control's values; fewer where many values are alike."""

_PRIOR = 0.5
"""Of each group, so that an empty one has a share."""


@dataclass(frozen=True, slots=True)
class Stability:
    """A population stability index.

    Attributes:
        psi: Without its bias; may be below 0.
        se: Its standard error.
    """

    psi: float
    se: float


def cuts(earlier: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the groups begin, but for the first: int64, at most `GROUPS` - 1, rising, each 1 to `SCORE_BINS` - 1.

    Args:
        earlier: int64 (`SCORE_BINS`,), control's values in each bin; at least one in all. A bin that holds several
            deciles is a group of its own.
    """
    running = list(accumulate(earlier.tolist()))
    deciles = [int(np.searchsorted(running, running[-1] * tenth / GROUPS)) for tenth in range(1, GROUPS)]
    ends = {place + 1 for place in deciles} | {place for place in deciles if deciles.count(place) > 1}
    return np.array(sorted(ends - {0, SCORE_BINS}), np.int64)


def index(control: NDArray[np.float64] | NDArray[np.int64], candidate: NDArray[np.int64]) -> Stability:
    """The index of two histograms.

    Args:
        control: (B,), control's values in each group, weighted ones where rules differ.
        candidate: int64 (B,), the candidate's; each at least one in all.
    """
    n_a, n_b = float(control.sum()), float(candidate.sum())
    a, b = _shares(control), _shares(candidate)
    logs = [math.log(own / other) for own, other in zip(a, b, strict=True)]
    sides = list(zip(a, b, logs, strict=True))
    by_a = [log + 1 - other / own for own, other, log in sides]
    by_b = [1 - log - own / other for own, other, log in sides]
    variance = _variance(a, by_a) / n_a + _variance(b, by_b) / n_b
    psi = sum([(own - other) * log for own, other, log in sides]) - (len(a) - 1) * (1 / n_a + 1 / n_b)
    return Stability(psi, math.sqrt(max(0.0, variance)))


def log_increment(
    past_control: NDArray[np.int64],
    past_candidate: NDArray[np.int64],
    control: NDArray[np.int64],
    candidate: NDArray[np.int64],
) -> float:
    """What a dose adds to the logarithm of the e-value against equal distributions.

    Args:
        past_control: int64 (B,), control's values of earlier doses in each group.
        past_candidate: int64 (B,), the candidate's.
        control: int64 (B,), of this dose.
        candidate: int64 (B,), of this dose; both have at least one.
    """
    n_a, n_b = int(control.sum()), int(candidate.sum())
    said = 0.0
    columns = (_shares(past_control), _shares(past_candidate), control.tolist(), candidate.tolist())
    for of_control, of_candidate, new_control, new_candidate in zip(*columns, strict=True):
        of_both = (n_a * of_control + n_b * of_candidate) / (n_a + n_b)
        said += new_control * math.log(of_control / of_both) + new_candidate * math.log(of_candidate / of_both)
    return said


def _shares(counts: NDArray[np.float64] | NDArray[np.int64]) -> list[float]:
    """Of so few groups floats cost less than arrays."""
    smoothed = [count + _PRIOR for count in counts.tolist()]
    total = sum(smoothed)
    return [each / total for each in smoothed]


def _variance(shares: list[float], gradient: list[float]) -> float:
    mean = sum([share * each for share, each in zip(shares, gradient, strict=True)])
    return sum([share * (each - mean) ** 2 for share, each in zip(shares, gradient, strict=True)])
