"""Mixtures of bets: one e-value from the log-wealths over a fixed grid of alternatives."""

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

_LEAST = np.finfo(np.float64).min
"""The least finite number."""


def uniform(count: int) -> NDArray[np.float64]:
    """Equal weights that sum to 1.

    Args:
        count: How many; positive.

    Returns:
        float64 (count,).
    """
    return np.full(count, 1.0 / count)


def log_mean(log_wealth: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The log of a mixture's wealth, `log(sum_j w_j exp(L_j))`, without overflow.

    Args:
        log_wealth: float64 (J,), a bet's log-wealth each; -inf is a bet that lost everything.
        weights: float64 (J,), not negative, at least one positive.

    Returns:
        Finite when a bet with a weight is finite; -inf when all of them lost everything.

    Raises:
        ValueError: A log-wealth is NaN or infinitely large, or no weight is positive.
    """
    # What `log_means` works out, bit for bit, at the price of fewer calls: that is all that a handful of numbers costs.
    peak = max(log_wealth.tolist())
    if -math.inf < peak < math.inf and np.count_nonzero(weights) == len(weights):
        mean = float(peak + np.log(np.add.reduce(np.exp(log_wealth - peak) * weights)))
        if not math.isnan(mean):
            return mean
    return float(log_means(log_wealth, weights))


def log_means(log_wealth: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`log_mean` of many at once.

    Args:
        log_wealth: float64 (..., J).
        weights: float64 (J,), not negative, at least one positive.

    Returns:
        float64 (...).

    Raises:
        ValueError: A log-wealth is NaN or infinitely large, or no weight is positive.
    """
    bets = weights > 0.0
    if not bets.all():
        if not bets.any():
            raise ValueError("a mixture needs a positive weight, expected weights that sum to 1")
        log_wealth, weights = log_wealth[..., bets], weights[bets]
    peak = log_wealth.max(axis=-1, keepdims=True)
    if not (peak < np.inf).all():
        raise ValueError("log-wealth is NaN or infinite, expected numbers that are finite or -inf")
    # a mixture that has lost everything is shifted by nothing: -inf - (-inf) would be NaN
    peak = np.maximum(peak, _LEAST)
    with np.errstate(divide="ignore"):
        return np.asarray(peak[..., 0] + np.log((np.exp(log_wealth - peak) * weights).sum(axis=-1)))


class Wealth:
    """Log-wealth of one e-process without restarts.

    Args:
        weights: float64 (J,), of the bets; they are positive and sum to 1.
    """

    __slots__ = ("_known", "_log_wealth", "_weights")

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self._weights: list[float] = weights.tolist()
        # A handful of numbers costs less as floats than as an array.
        self._log_wealth = [0.0] * len(weights)
        self._known: float | None = None

    @property
    def log_e(self) -> float:
        """The log of the e-value; worked out once for all who ask before more is added."""
        if self._known is None:
            peak = max(self._log_wealth)
            parts = [
                weight * math.exp(mine - peak) for weight, mine in zip(self._weights, self._log_wealth, strict=True)
            ]
            self._known = peak + math.log(sum(parts)) if peak > -math.inf else peak
        return self._known

    def add(self, increment: NDArray[np.float64]) -> None:
        """Add what more observations say, float64 (J,)."""
        self._log_wealth = [mine + new for mine, new in zip(self._log_wealth, increment.tolist(), strict=True)]
        self._known = None

    def forget(self) -> None:
        """Begin anew."""
        self._log_wealth = [0.0] * len(self._weights)
        self._known = None

    def to_plain(self) -> list[float]:
        """The state, as JSON can hold it, exactly."""
        return self._log_wealth

    @classmethod
    def from_plain(cls, weights: NDArray[np.float64], plain: Sequence[float]) -> Self:
        """What `to_plain` gave."""
        wealth = cls(weights)
        wealth.add(np.array(plain, np.float64))
        return wealth
