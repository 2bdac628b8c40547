"""How far the mean of a candidate's values may lie from control's, and what one pair of values says about it.

Values lie in [0, 1]. Per direction, D is what a pair says for the candidate's being outside the margin:

    drop  x - y - m, or (1 - e)(x - z) - (y - z) for a relative margin e
    rise  y - x - m, or (y - z) - (1 + e)(x - z)

x is control's, y the candidate's, z is where 0 of the values' own scale lies. D is linear in both, so its expectation
knows nothing of how they hang together.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.bins import Moments
from streamsplit.core.guards import Direction, ScoreGuard

LEAST_MARGIN = 0.002
"""Of the values' range: two bins."""

GREATEST_SHARE = 0.2
"""Of control's mean."""

_CORNERS = (np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0]))


@dataclass(frozen=True, slots=True)
class Margin:
    """One direction's margin.

    Attributes:
        size: How far the means may be apart; not negative. On the scale of the values or, where `relative`, a share of
            control's mean, which is below 1.
        relative: Which of the two `size` is.
        direction: `DROP` or `RISE`.
        zero: Where 0 of the values' own scale lies, `-low / (high - low)`; used where `relative`. At most 0, since a
            share of a mean that may be negative means nothing.
        scale: The most that D may be, whichever way, at least 1: over it, D lies in [-1, 1].

    Raises:
        ValueError: One of them is out of range.
    """

    size: float
    relative: bool
    direction: Direction
    zero: float = 0.0
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.size < math.inf:
            raise ValueError(f"expected a margin from 0, got {self.size}")
        if self.relative and not (self.size < 1.0 and -math.inf < self.zero <= 0.0):
            raise ValueError(
                f"expected a share below 1 of a mean that is not negative, got {self.size} and {self.zero}"
            )
        # D is linear, so its extremes over all that x and y may be are at the corners.
        object.__setattr__(self, "scale", max(1.0, float(np.abs(self.outside(*_CORNERS)).max())))

    def outside(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """The D of the module's docstring, not yet brought into [-1, 1]; `x` and `y` float64 (n,)."""
        sign = 1.0 if self.direction is Direction.DROP else -1.0
        if self.relative:
            return sign * ((1.0 - sign * self.size) * (x - self.zero) - (y - self.zero))
        return sign * (x - y) - self.size

    def difference(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """D, in [-1, 1]; `x` and `y` float64 (n,) in [0, 1]."""
        return self.outside(x, y) / self.scale


def directions_of(direction: Direction) -> tuple[Direction, ...]:
    """The directions that a guard looks at: one e-process each."""
    return (Direction.DROP, Direction.RISE) if direction is Direction.EITHER else (direction,)


@lru_cache(maxsize=64)
def margins_of(guard: ScoreGuard) -> tuple[Margin, ...]:
    """A guard's margin in each direction that it looks at.

    Raises:
        ValueError: As `Margin`.
    """
    zero = zero_of(guard)
    return tuple(Margin(guard.margin, guard.relative, each, zero) for each in directions_of(guard.direction))


def zero_of(guard: ScoreGuard) -> float:
    """Where 0 of the score's own scale lies when its range is brought to [0, 1]."""
    return -guard.score.low / (guard.score.high - guard.score.low)


def refusal(values: Moments, margin: float, zero: float = 0.0) -> str | None:
    """Why an absolute margin says nothing about these values: with it a candidate may lose most of what control earns.

    Args:
        values: Control's.
        margin: On the scale of [0, 1].
        zero: Where 0 of the values' own scale lies on it, `-low / (high - low)`.

    Returns:
        A sentence with the cure; None where the margin is fine, or there are no values yet to tell.
    """
    return refusal_beside(values.mean, values.spread, margin, zero) if values.number else _too_fine(margin)


def refusal_beside(mean: float, spread: float, margin: float, zero: float = 0.0) -> str | None:
    """As `refusal`, given the mean and the standard deviation of control's values."""
    if margin < LEAST_MARGIN:
        return _too_fine(margin)
    most = min(GREATEST_SHARE * abs(mean - zero), spread)
    if margin <= most:
        return None
    return (
        f"a margin of {margin:g} of the range is above {most:.2g}, the lesser of 20 % of control's mean and one"
        " standard deviation; take a share of the mean, such as `2%`, or a narrower range"
    )


def _too_fine(margin: float) -> str | None:
    if margin >= LEAST_MARGIN:
        return None
    return f"a margin of {margin:g} of the range is finer than its bins; take at least {LEAST_MARGIN:g}"
