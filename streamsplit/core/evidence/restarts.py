"""Evidence that also finds what goes wrong late: a mixture over the time at which the bets begin.

Bets that began with the rollout have lost so much by window 1500 that a candidate which then goes bad is not found for
long. So a share `w_k` of the wealth waits until start k:

    at a start          M_j += w_k, cash -= w_k
    with an increment   M_j *= exp(dL_j)
    E = cash + sum_j v_j M_j

A weighted mean of e-processes that begin at fixed times is an e-process (Shin, Ramdas, Rinaldo 2023, e-detectors, with
weights that sum to 1 in place of a sum that grows), and takes the memory of one.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

EVERY = 10
"""Windows from one start to the next."""

_SCALE = 0.473991
"""One over the sum of 1 / (n ln^2 n) from n = 2 on, rounded down."""


_ROUNDING = 1e-9
"""By which start weights that sum to 1 may seem to sum to more."""

_DOUBLE = math.log(2) + _ROUNDING


def slow_weight(start: int) -> float:
    """Share of the wealth that a start gets: nearly a half at first, and no faster decay than a sum of 1 needs.

    Args:
        start: 0 is the first.

    Returns:
        `.473991 / ((k + 2) ln^2(k + 2))`; all of them sum to 1, less a millionth.
    """
    return _SCALE / ((start + 2) * math.log(start + 2) ** 2)


class Restarting:
    """Log-wealth of one e-process with restarts.

    What is called a window is whatever comes in turn: for limits, which may not wait for a window to close, a summary.

    Args:
        weights: float64 (J,), of the bets; they sum to 1.
        every: Windows from one start to the next; positive. The first is before window 0.
        start_weight: Share of the wealth that each start gets; not negative, they sum to at most 1.
    """

    __slots__ = ("_cash", "_every", "_known", "_log_wealth", "_start_weight", "_weights", "_windows")

    def __init__(
        self,
        weights: NDArray[np.float64],
        *,
        every: int = EVERY,
        start_weight: Callable[[int], float] = slow_weight,
    ) -> None:
        if every < 1:
            raise ValueError(f"expected a start every 1 or more windows, got {every}")
        self._weights: list[float] = weights.tolist()
        self._every = every
        self._start_weight = start_weight
        self._windows = 0
        self._cash = 1.0
        # A handful of numbers costs less as floats than as an array.
        self._log_wealth = [-math.inf] * len(weights)
        self._known: float | None = None  # log_e, once somebody has asked

    @property
    def windows(self) -> int:
        """How many were added."""
        return self._windows

    @property
    def log_e(self) -> float:
        """The log of the e-value; 0 before the first window."""
        if self._known is None:
            self._known = self._log_e(self._cash, self._log_wealth)
        return self._known

    def reaches(self, log_needed: float) -> bool:
        """Whether `log_e` is at least so much; that it is not is mostly told without working it out.

        A mean is at most its greatest part, so E is at most twice the greater of cash and the greatest bet.
        """
        if self._known is None and max(0.0, *self._log_wealth) + _DOUBLE < log_needed:
            return False
        return self.log_e >= log_needed

    def add(self, increment: NDArray[np.float64], windows: int = 1) -> None:
        """Add closed windows, in order and each once.

        Args:
            increment: float64 (J,), of the last of them; what else they hold says nothing. Finite or -inf.
            windows: How many closed; positive. More than 1 where nothing came for a while.

        Raises:
            ValueError: `increment` is not (J,), NaN or infinitely large, or `windows` is not positive.
        """
        self._cash, self._log_wealth = self._with(increment, windows)
        self._windows += windows
        self._known = None

    def peek(self, increment: NDArray[np.float64], windows: int = 1) -> float:
        """What `log_e` would be after `add`, without adding: for a window that is still open.

        Args:
            increment: As in `add`.
            windows: As in `add`, the open one included.

        Returns:
            The log of the e-value.

        Raises:
            ValueError: As in `add`.
        """
        return self._log_e(*self._with(increment, windows))

    def to_plain(self) -> dict[str, Any]:
        """The state, exact, of types that JSON has.

        Returns:
            `weights`, `every`, `windows`, `cash` and `log_wealth`; floats as texts, since JSON has no -inf.
        """
        return {
            "weights": [repr(weight) for weight in self._weights],
            "every": self._every,
            "windows": self._windows,
            "cash": repr(self._cash),
            "log_wealth": [repr(number) for number in self._log_wealth],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, start_weight: Callable[[int], float] = slow_weight) -> Self:
        """The evidence whose state it is, bit for bit.

        Args:
            plain: What `to_plain` gave.
            start_weight: The same function as before.

        Returns:
            Goes on where the other was.

        Raises:
            ValueError: `plain` is not such a state.
        """
        try:
            weights = np.array([float(weight) for weight in plain["weights"]])
            log_wealth = [float(number) for number in plain["log_wealth"]]
            evidence = cls(weights, every=int(plain["every"]), start_weight=start_weight)
            evidence._windows, evidence._cash = int(plain["windows"]), float(plain["cash"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected the plain form of evidence with restarts, got {plain!r:.200}") from error
        fits = len(log_wealth) == len(weights) and all(number < math.inf for number in log_wealth)
        if not (fits and 0.0 <= evidence._cash <= 1.0 and evidence._windows >= 0):
            raise ValueError(f"expected the plain form of evidence with restarts, got {plain!r:.200}")
        evidence._log_wealth = log_wealth
        return evidence

    def _with(self, increment: NDArray[np.float64], windows: int) -> tuple[float, list[float]]:
        """Cash and log-wealth after more windows."""
        more: list[float] = increment.tolist()
        # a sum is finite or -inf where all of them are, and costs less than to look at each
        if len(more) != len(self._weights) or not sum(more) < math.inf:
            raise ValueError(f"expected {len(self._weights)} numbers that are finite or -inf, got {increment}")
        if windows < 1:
            raise ValueError(f"expected 1 or more windows, got {windows}")
        placed = self._placed(windows)
        if not placed:
            return self._cash, [mine + new for mine, new in zip(self._log_wealth, more, strict=True)]
        cash = self._cash - placed
        if cash < -_ROUNDING:
            raise ValueError("expected start weights that sum to at most 1, they sum to more")
        return max(0.0, cash), _added(self._log_wealth, math.log(placed), more)

    def _placed(self, windows: int) -> float:
        """What all starts in the next windows get."""
        if windows == 1:
            start, past = divmod(self._windows, self._every)
            return 0.0 if past else self._start_weight(start)
        # starts in windows that say nothing all come to one: their bets are worth what was put in
        starts = range(-(-self._windows // self._every), (self._windows + windows - 1) // self._every + 1)
        return math.fsum(map(self._start_weight, starts))

    def _log_e(self, cash: float, log_wealth: list[float]) -> float:
        peak = max(0.0, *log_wealth)
        parts = [weight * math.exp(mine - peak) for weight, mine in zip(self._weights, log_wealth, strict=True)]
        total = cash * math.exp(-peak) + sum(parts)
        return peak + math.log(total) if total else -math.inf


def _added(log_wealth: list[float], log_placed: float, increment: list[float]) -> list[float]:
    """Each bet with what was placed on it, and what it has won; without overflow, whichever of the two is greater."""
    exp, log1p = math.exp, math.log1p
    return [
        (mine + log1p(exp(log_placed - mine)) if mine > log_placed else log_placed + log1p(exp(mine - log_placed)))
        + new
        for mine, new in zip(log_wealth, increment, strict=True)
    ]
