"""Failures of two arms on the same requests (mirrored traffic).

Null hypotheses as in `errors`: rollback `rate_b <= r rate_a + f`, promotion `rate_b >= r rate_a + f`. With
`D = Y_b - r Y_a - f` of a pair, whose expectation the null bounds by 0, a bet l has `L_j += log(1 + l_j D)`; for
promotion `log(1 - l_j D)`. So the factors are, for a pair that

    only the candidate fails  1 + l (1 - f)        both fail     1 + l (1 - r - f)
    only control fails        1 - l (r + f)        neither fails 1 - l f

D is linear in both outcomes, so its expectation knows nothing of how they hang together: exact for any dependence
(betting, Waudby-Smith and Ramdas 2024, arXiv 2010.09686). With r = 1 and f = 0 it is the sign test of McNemar.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.mixture import uniform

LAMBDAS = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
"""float64 (7,): the bets of a promotion; those of a rollback are these over r + f, the most a pair can lose."""

WEIGHTS = uniform(len(LAMBDAS))
"""float64 (7,)."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Requests that both arms were asked, by who failed; or, in the same way, by who missed the true label.

    Attributes:
        only_candidate: The candidate failed and control did not.
        only_control: Control failed and the candidate did not.
        both: Both failed.
        neither: Neither failed.

    Raises:
        ValueError: A number is negative.
    """

    only_candidate: int = 0
    only_control: int = 0
    both: int = 0
    neither: int = 0

    def __post_init__(self) -> None:
        if min(self.only_candidate, self.only_control, self.both, self.neither) < 0:
            raise ValueError(f"expected numbers of pairs that are not negative, got {self}")

    def __add__(self, other: "Pairs") -> "Pairs":
        return Pairs(
            self.only_candidate + other.only_candidate,
            self.only_control + other.only_control,
            self.both + other.both,
            self.neither + other.neither,
        )


def rollback_increment(pairs: Pairs, ratio: float, floor: float) -> NDArray[np.float64]:
    """What pairs say against `rate_b <= ratio rate_a + floor`.

    Args:
        pairs: Of one dose or of many; it makes no difference.
        ratio: Tolerated ratio; positive.
        floor: Tolerated difference, as a share of requests; not negative and below 1.

    Returns:
        float64 (7,), for `WEIGHTS`.

    Raises:
        ValueError: `ratio` or `floor` is out of range.
    """
    _check(ratio, floor)
    return _increment(pairs, LAMBDAS / (ratio + floor), ratio, floor)


def promote_increment(pairs: Pairs, ratio: float, floor: float) -> NDArray[np.float64]:
    """What pairs say against `rate_b >= ratio rate_a + floor`.

    Args:
        pairs: Of one dose or of many; it makes no difference.
        ratio: Ratio from which the candidate is not good enough; positive.
        floor: Difference on top of it, as a share of requests; not negative and below 1.

    Returns:
        float64 (7,), for `WEIGHTS`.

    Raises:
        ValueError: `ratio` or `floor` is out of range.
    """
    _check(ratio, floor)
    return _increment(pairs, -LAMBDAS, ratio, floor)


def _check(ratio: float, floor: float) -> None:
    if not (0.0 < ratio < np.inf and 0.0 <= floor < 1.0):
        raise ValueError(f"expected a positive ratio and a floor from 0 to below 1, got {ratio} and {floor}")


def _increment(pairs: Pairs, bets: NDArray[np.float64], ratio: float, floor: float) -> NDArray[np.float64]:
    log_wealth: NDArray[np.float64] = (
        pairs.only_candidate * np.log1p(bets * (1.0 - floor))
        + pairs.only_control * np.log1p(-bets * (ratio + floor))
        + pairs.both * np.log1p(bets * (1.0 - ratio - floor))
        + pairs.neither * np.log1p(-bets * floor)
    )
    return log_wealth
