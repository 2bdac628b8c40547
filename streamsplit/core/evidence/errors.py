"""Error rates of two arms: a ratio test with an additive tolerance, dose by dose.

Null hypotheses, with r0 the ratio and f the floor: rollback `rate_b <= r0 rate_a + f`, promotion
`rate_b >= r0 rate_a + f`. A bet on the ratio r_j = c_j r0 has, with `p(r) = n_b r / (n_b r + n_a)`,
`q_b = p(r_j) / p(r0)` and `q_a = (1 - p(r_j)) / (1 - p(r0))`, per dose

    L_j += x_b log q_b + x_a log q_a - n_b f (q_b - 1)

As `n_b r0 (q_b - 1) + n_a (q_a - 1) = 0`, the expected wealth factor at the edge of the null is at most
`exp(n_b (r0 theta + f)(q_b - 1) + n_a theta (q_a - 1) - n_b f (q_b - 1)) = 1`, whatever base rate theta the dose has.
With f = 0 it is the likelihood ratio of who met the errors, a 2x2 e-variable (Turner, Ly, Grünwald 2024,
arXiv 2106.02693).
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.mixture import uniform

ROLLBACK_FACTORS = np.array([1.25, 1.5, 2.0, 3.0, 5.0, 10.0])
"""float64 (6,): the bets' ratios, in units of the tolerated one."""

ROLLBACK_WEIGHTS = np.array([0.25, 0.25, 0.18, 0.12, 0.1, 0.1])
"""float64 (6,): most on small differences, which take longest to find."""

PROMOTE_FACTORS = 1.0 / np.array([1.25, 1.5, 2.0, 3.0, 10.0, 1e6])
"""float64 (6,): the last is a candidate without errors."""

PROMOTE_WEIGHTS = uniform(len(PROMOTE_FACTORS))
"""float64 (6,)."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A dose: what happened to control and a candidate side by side.

    Attributes:
        control: Requests assigned to control.
        control_errors: Those of them that control did not serve correctly.
        candidate: Requests assigned to the candidate.
        candidate_errors: Those of them that the candidate did not serve correctly.

    Raises:
        ValueError: More errors than requests, or a negative number.
    """

    control: int
    control_errors: int
    candidate: int
    candidate_errors: int

    def __post_init__(self) -> None:
        if not (0 <= self.control_errors <= self.control and 0 <= self.candidate_errors <= self.candidate):
            raise ValueError(f"expected 0 <= errors <= requests in each arm, got {self}")


@dataclass(frozen=True, slots=True)
class CountColumns:
    """Many doses side by side.

    Attributes:
        control: int64 (d,), as in `Counts`.
        control_errors: int64 (d,).
        candidate: int64 (d,).
        candidate_errors: int64 (d,).

    Raises:
        ValueError: A dose has more errors than requests, or a negative number.
    """

    control: NDArray[np.int64]
    control_errors: NDArray[np.int64]
    candidate: NDArray[np.int64]
    candidate_errors: NDArray[np.int64]

    def __post_init__(self) -> None:
        arms = ((self.control, self.control_errors), (self.candidate, self.candidate_errors))
        if any(((errors < 0) | (errors > requests)).any() for requests, errors in arms):
            raise ValueError("expected 0 <= errors <= requests in each arm of each dose")


def rollback_increment(counts: Counts | CountColumns, ratio: float, floor: float) -> NDArray[np.float64]:
    """What a dose says against `rate_b <= ratio rate_a + floor`.

    Args:
        counts: One dose or d of them.
        ratio: Tolerated ratio; positive.
        floor: Tolerated difference, as a share of requests; not negative.

    Returns:
        float64 (6,), for `ROLLBACK_WEIGHTS`; (d, 6) for columns. Zeros where an arm had no requests.

    Raises:
        ValueError: `ratio` is not positive or `floor` is negative.
    """
    return increment(counts, ratio, floor, ROLLBACK_FACTORS)


def promote_increment(counts: Counts | CountColumns, ratio: float, floor: float) -> NDArray[np.float64]:
    """What a dose says against `rate_b >= ratio rate_a + floor`.

    Args:
        counts: One dose or d of them.
        ratio: Ratio from which the candidate is not good enough; positive.
        floor: Difference on top of it, as a share of requests; not negative. At 0 an error-free control is never
            matched.

    Returns:
        float64 (6,), for `PROMOTE_WEIGHTS`; (d, 6) for columns. Zeros where an arm had no requests.

    Raises:
        ValueError: `ratio` is not positive or `floor` is negative.
    """
    return increment(counts, ratio, floor, PROMOTE_FACTORS)


def exceedance_increment(counts: Counts | CountColumns, ratio: float = 1.0, floor: float = 0.0) -> NDArray[np.float64]:
    """What a dose of events that need no tolerance of their own, such as slow runs, says against the candidate.

    Args:
        counts: Runs, and those of them that exceeded; one dose or d of them.
        ratio: As in `rollback_increment`.
        floor: As in `rollback_increment`.

    Returns:
        As `rollback_increment`, for `ROLLBACK_WEIGHTS`.
    """
    return rollback_increment(counts, ratio, floor)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Bets of several tests side by side, for what one dose says in all of them.

    Attributes:
        ratios: float64 (J,), each bet's r0; positive.
        floors: float64 (J,), each bet's f; not negative.
        factors: float64 (J,), each bet's ratio in units of r0; as in `increment`.
    """

    ratios: NDArray[np.float64]
    floors: NDArray[np.float64]
    factors: NDArray[np.float64]

    @classmethod
    def of(cls, *tests: tuple[float, float, NDArray[np.float64]]) -> Self:
        """Of each test's r0, f and factors, one after another.

        Raises:
            ValueError: A ratio is not positive or a floor is negative.
        """
        for ratio, floor, _ in tests:
            _check(ratio, floor)
        ratios = [np.full(len(factors), ratio) for ratio, _, factors in tests]
        floors = [np.full(len(factors), floor) for _, floor, factors in tests]
        return cls(np.concatenate(ratios), np.concatenate(floors), np.concatenate([each for *_, each in tests]))

    def increment(self, counts: Counts) -> NDArray[np.float64]:
        """What a dose with requests in both arms says: float64 (J,), of each test what `increment` gives."""
        return _log_wealth(counts, self.ratios, self.floors, self.factors)


def increment(
    counts: Counts | CountColumns, ratio: float, floor: float, factors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log-wealth of bets on any grid of ratios.

    Args:
        counts: One dose or d of them.
        ratio: The null's r0; positive.
        floor: The null's f; not negative.
        factors: float64 (J,), the bets' ratios in units of r0; positive. With a floor all on one side of 1, since that
            side is the direction of the null: above 1 for a rollback, below 1 for a promotion.

    Returns:
        float64 (J,), or (d, J) for columns. Zeros where an arm had no requests.

    Raises:
        ValueError: `ratio` is not positive or `floor` is negative.
    """
    _check(ratio, floor)
    if isinstance(counts, Counts):
        both = counts.control > 0 and counts.candidate > 0
        return _log_wealth(counts, ratio, floor, factors) if both else np.zeros(len(factors))
    comparable = np.flatnonzero((counts.control > 0) & (counts.candidate > 0))
    standing = CountColumns(
        counts.control[comparable, None],
        counts.control_errors[comparable, None],
        counts.candidate[comparable, None],
        counts.candidate_errors[comparable, None],
    )
    log_wealth = np.zeros((len(counts.control), len(factors)))
    log_wealth[comparable] = _log_wealth(standing, ratio, floor, factors)
    return log_wealth


def _check(ratio: float, floor: float) -> None:
    if not (0.0 < ratio < math.inf and 0.0 <= floor < math.inf):
        raise ValueError(f"expected a positive ratio and a floor that is not negative, got {ratio} and {floor}")


def _log_wealth(
    counts: Counts | CountColumns,
    ratio: float | NDArray[np.float64],
    floor: float | NDArray[np.float64],
    factors: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The formula of the module's docstring, for a dose or columns (d, 1), with requests in both arms."""
    n_a, n_b = counts.control, counts.candidate
    q_a = (n_b * ratio + n_a) / (n_b * ratio * factors + n_a)
    q_b = factors * q_a
    likelihood = counts.candidate_errors * np.log(q_b) + counts.control_errors * np.log(q_a)
    return np.asarray(likelihood - n_b * floor * (q_b - 1.0))
