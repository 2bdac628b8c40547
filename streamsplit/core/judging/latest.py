"""What has happened since a candidate began to go wrong: figures of a whole rollout do not show what begins late.

The evidence finds it, as its bets begin anew again and again (`evidence/restarts.py`). So of each bet the counts are
kept since the moment from which on it has won the most (Page 1954, continuous inspection schemes):

    W_j = max(0, W_j + dL_j)      counts of j begin anew where W_j is 0

Those of the bet with the greatest W_j are told. They are for people: the stretch is chosen for what it says against the
candidate, so its figures are no estimates, and they decide nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class Latest:
    """Counts of the latest stretch, by bet.

    Args:
        bets: How many bets there are (J).
        counts: How many things are counted (C); the first of them is what the stretch is measured by.
    """

    __slots__ = ("_counts", "_won")

    def __init__(self, bets: int, counts: int) -> None:
        self._won = [0.0] * bets
        self._counts = [[0] * counts for _ in range(bets)]

    def add(self, increment: NDArray[np.float64], counts: Sequence[int]) -> None:
        """Add what comes in turn, a window or a summary.

        Args:
            increment: float64 (J,), what it adds to the log-wealth of each bet; finite or -inf.
            counts: (C,), what was counted in it; whole numbers.
        """
        more: list[float] = increment.tolist()
        for bet, (mine, new) in enumerate(zip(self._won, more, strict=True)):
            won = mine + new
            if won > 0.0:
                self._won[bet] = won
                self._counts[bet] = [before + count for before, count in zip(self._counts[bet], counts, strict=True)]
            elif mine:
                self._won[bet], self._counts[bet] = 0.0, [0] * len(counts)

    def beside(self, whole: int, log_e: float) -> tuple[int, ...] | None:
        """The counts of the stretch where the whole does not show what it says: it is less than half of it.

        Args:
            whole: The first count of the whole rollout.
            log_e: Logarithm of the e-value; where it does not speak against the candidate nothing is told.

        Returns:
            (C,), the first of them positive; None for nothing to tell.
        """
        won = max(self._won)
        if won <= 0.0 or log_e <= 0.0:
            return None
        counts = tuple(self._counts[self._won.index(won)])
        return counts if 0 < 2 * counts[0] < whole else None

    def to_plain(self) -> Sequence[Sequence[Any]]:
        """As JSON can hold it, exactly: what each bet has won, and its counts."""
        return [[won, *counts] for won, counts in zip(self._won, self._counts, strict=True)]

    @classmethod
    def from_plain(cls, plain: Sequence[Sequence[Any]]) -> Self:
        """What `to_plain` gave.

        Raises:
            ValueError, TypeError: It is no such state.
        """
        latest = cls(len(plain), 0)
        latest._won = [float(won) for won, *_ in plain]
        latest._counts = [[int(count) for count in counts] for _, *counts in plain]
        return latest


def told(counted: str, number: int, candidate: float, control: float | None = None) -> Mapping[str, float]:
    """A latest stretch as the counts of a reading have it.

    Args:
        counted: What it is measured by, such as `requests`.
        number: How many of them it has.
        candidate: The candidate's figure, in the reading's unit.
        control: Control's; None where the reading has none, or nothing of control was counted.
    """
    found = {f"latest_{counted}": number, "latest_candidate": candidate}
    return found if control is None else {**found, "latest_control": control}
