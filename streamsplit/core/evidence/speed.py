"""How fast a candidate is beside control: a sign test over probes, pairs of runs of the same rows.

Null hypotheses, with X = 1 where a candidate's run was slower than `ratio` times control's plus a floor, or alone was
over its budget: rollback `P(X = 1) <= 1/2` at a tolerated ratio, promotion `P(X = 1) >= 1/2` at a ratio from which the
candidate is not good enough, each given all probes before. A bet l has, per probe,

    rollback L_j += log(1 + l_j (2X - 1))        promotion L_j += log(1 - l_j (2X - 1))

whose expected factor is at most 1 under its null (betting, Waudby-Smith and Ramdas 2024, arXiv 2010.09686). Nothing is
assumed of how times are distributed, or of what the two runs of a probe have in common. How often the candidate's
runs are far too slow is the business of `tails`.
"""

import functools
import math
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.mixture import log_mean, uniform

LAMBDAS = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
"""float64 (7,): the bets. Small ones for small differences."""

WEIGHTS = uniform(len(LAMBDAS))
"""float64 (7,)."""

RATIOS = 2.0 ** (np.arange(-128, 129) / 32)
"""float64 (257,), from 1/16 to 16 by 2.2 %: ends of the bins of `ratio_places`."""

_FOR = np.log1p(LAMBDAS)
_AGAINST = np.log1p(-LAMBDAS)
_MICROS = 1e6


def slower(
    control_micros: NDArray[np.int64] | NDArray[np.float64],
    candidate_micros: NDArray[np.int64] | NDArray[np.float64],
    ratio: float,
    floor_seconds: float,
    *,
    control_over: NDArray[np.bool_],
    candidate_over: NDArray[np.bool_],
    in_doubt: bool,
) -> NDArray[np.bool_]:
    """In which probes the candidate was slower than `ratio` times control plus the floor.

    No probe is left out: a candidate that hangs in some of its runs would look fast. A run over its budget took at
    least as long as it says; a time that is +inf is over its budget; of one that is NaN or negative nothing is known.

    - Only the candidate over: slower.
    - Only control over: its time is at least what is said. Not slower where that alone is enough, as it always is with
      the same budget for both; else in doubt.
    - Both over, or a time unknown: in doubt.

    Args:
        control_micros: (m,), time of control's runs in microseconds; of one over its budget, what it was given.
        candidate_micros: (m,), the candidate's.
        ratio: At least 1.
        floor_seconds: A difference that nobody minds; not negative.
        control_over: bool (m,), whether control was over its budget.
        candidate_over: bool (m,), whether the candidate was.
        in_doubt: What a probe in doubt counts as, always what the null hypothesis expects: False to roll back, True to
            promote.

    Returns:
        bool (m,).
    """
    control_low, control_high = _bounds(control_micros, control_over)
    candidate_low, candidate_high = _bounds(candidate_micros, candidate_over)
    floor = floor_seconds * _MICROS
    alone = (candidate_over | (candidate_micros == np.inf)) & ~(control_over | (control_micros == np.inf))
    surely: NDArray[np.bool_] = alone | (candidate_low > ratio * control_high + floor)
    surely_not: NDArray[np.bool_] = ~alone & (candidate_high <= ratio * control_low + floor)
    return ~surely_not if in_doubt else surely


def rollback_increment(probes: int | NDArray[np.int64], slower: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """What probes say against a candidate that is slower in at most half of them.

    Args:
        probes: How many, or int64 (d,).
        slower: Those in which the candidate was slower than tolerated, or int64 (d,).

    Returns:
        float64 (7,), for `WEIGHTS`; (d, 7) for columns.

    Raises:
        ValueError: More slower ones than probes, or a negative number.
    """
    return _increment(probes, slower, _FOR, _AGAINST)


def promote_increment(probes: int | NDArray[np.int64], slower: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """What probes say against a candidate that is slower in at least half of them.

    Args:
        probes: As in `rollback_increment`.
        slower: Those in which the candidate was slower than is good enough, counted with `in_doubt=True`.

    Returns:
        As `rollback_increment`.

    Raises:
        ValueError: More slower ones than probes, or a negative number.
    """
    return _increment(probes, slower, _AGAINST, _FOR)


def ratio_places(
    control_micros: NDArray[np.int64] | NDArray[np.float64],
    candidate_micros: NDArray[np.int64] | NDArray[np.float64],
    *,
    control_over: NDArray[np.bool_],
    candidate_over: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """In which bin each probe lies, by how many times control's time the candidate's was.

    Args:
        control_micros: (m,), as in `slower`; less than 1 counts as 1, the clock's grain.
        candidate_micros: (m,).
        control_over: bool (m,).
        candidate_over: bool (m,).

    Returns:
        int64 (m,), 0 to 258: bin i holds ratios above `RATIOS[i - 1]` and up to `RATIOS[i]`; the last but one those
        above all of them, and the candidate alone over its budget; the first also control alone over its, where the
        candidate took no longer than that; the last those that are not known: other runs over a budget, times that are
        none.
    """
    control_low, control_high = _bounds(control_micros, control_over)
    candidate_low, candidate_high = _bounds(candidate_micros, candidate_over)
    beyond, below = np.isinf(candidate_high), np.isinf(control_high)
    unknown = (
        (below & (beyond | (candidate_low > control_low))) | ~_is_time(control_micros) | ~_is_time(candidate_micros)
    )
    ratios = np.maximum(candidate_low, 1.0) / np.maximum(control_low, 1.0)
    ratios = np.where(beyond, np.inf, np.where(below, 0.0, ratios))
    return np.where(unknown, len(RATIOS) + 1, np.searchsorted(RATIOS, ratios))


def interval(bins: NDArray[np.int64], alpha: float) -> tuple[float, float]:
    """An interval for the median of the candidate's time over control's, which may be looked at at any time.

    A ratio r lies below it once the sign test of `P(ratio > r) <= 1/2` reaches 2/alpha, above it once that of
    `P(ratio > r) >= 1/2` does. For all r on one side of the median the evidence grows towards the median, so the
    chance that it is ever outside is at most alpha (Howard and Ramdas 2022, arXiv 1906.09512). Decisions do not use it.

    Args:
        bins: int64 (259,), probes in each of the bins of `ratio_places`.
        alpha: Above 0 and below 1.

    Returns:
        Low and high end, low below high, each one of `RATIOS`; 1/16 and 16 mean "or beyond". Probes in doubt widen it.

    Raises:
        ValueError: `alpha` is not between 0 and 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"expected an alpha above 0 and below 1, got {alpha}")
    probes, last = int(bins.sum()), len(RATIOS) - 1
    above = np.cumsum(bins[-2::-1])[-2::-1]  # known to be above each of `RATIOS`
    sure = _least_sure(probes, math.log(2.0 / alpha))
    below_median = np.flatnonzero(above >= sure)
    not_below = above + bins[-1]
    above_median = np.flatnonzero(probes - not_below >= sure)
    low = min(int(below_median.max(initial=0)), last - 1)
    high = max(int(above_median.min(initial=last)), low + 1)
    return float(RATIOS[low]), float(RATIOS[high])


def median_ratio(bins: NDArray[np.int64]) -> float | None:
    """The median of the candidate's time over control's, within 1.1 %; 1/16 or 16 mean "or beyond".

    Args:
        bins: int64 (259,), probes in each of the bins of `ratio_places`; those not known are left out.

    Returns:
        The lower one of two medians; None without probes.
    """
    running = np.cumsum(bins[:-1])
    if not running[-1]:
        return None
    place = int(np.searchsorted(running, running[-1] / 2))
    return float(math.sqrt(RATIOS[max(place - 1, 0)] * RATIOS[min(place, len(RATIOS) - 1)]))


@functools.lru_cache(maxsize=1024)
def _least_sure(probes: int, log_needed: float) -> int:
    """Of how many probes one must be slower, or none of them be, for the sign test to say so; beyond them for never.

    What the test against "at most half" says of k slower ones, that against "at least half" says of k others.
    """
    return bisect_left(
        range(probes + 1), log_needed, key=lambda slower: log_mean(rollback_increment(probes, slower), WEIGHTS)
    )


def _increment(
    probes: int | NDArray[np.int64],
    slower: int | NDArray[np.int64],
    on_slower: NDArray[np.float64],
    on_faster: NDArray[np.float64],
) -> NDArray[np.float64]:
    if isinstance(probes, int) and isinstance(slower, int) and 0 <= slower <= probes:
        return np.asarray(slower * on_slower + (probes - slower) * on_faster)
    if not np.all((slower >= np.int64(0)) & (slower <= np.asarray(probes))):
        raise ValueError(f"expected 0 <= slower <= probes, got {slower} of {probes}")
    return np.asarray(np.multiply.outer(slower, on_slower) + np.multiply.outer(np.subtract(probes, slower), on_faster))


def _is_time(micros: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.bool_]:
    return micros >= 0  # False for NaN


def _bounds(
    micros: NDArray[np.int64] | NDArray[np.float64], over: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the greatest that each time may have been."""
    finite = _is_time(micros) & np.isfinite(micros)
    return np.where(finite, micros, 0.0), np.where(finite & ~over, micros, np.inf)
