"""The search for the rows that raise, of a run that did.

It decides every row by itself, so that no row is an error for its neighbours: a row raises when it does so alone. Rows
are tried in order, in groups. A group that raises is halved until its first culprit is alone; behind that one nothing
is known, and the next group is half as long as the way from one culprit to the next has been (Hwang 1972). So one
culprit of n rows costs about log2(n) runs; where a third raises, rows are soon tried one by one, and where all do, each
costs a run.
"""

import math
import time
from collections.abc import Callable, Iterator

_DEAR = 3.0
"""Runs that go well, for one that raises, from which on groups are made shorter."""

Run = Callable[[int, int], str | None]
"""Runs the rows from the first number to before the second; why they raised, None where they were answered."""


class Search:
    """The search in one share of a batch, over all its runs that raise.

    Args:
        run: Runs some rows.
        seconds: Time that it may take, all in all.
        thorough: Whether it goes on when the time is over.
        clock: Seconds from any start.

    Attributes:
        late: Whether the time was over before all was decided.
    """

    def __init__(
        self, run: Run, seconds: float, *, thorough: bool = False, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._run = run
        self._seconds = seconds
        self._thorough = thorough
        self._clock = clock
        self._spent = 0.0
        self._began: float | None = None
        self._decided = 0
        self._culprits = 0
        self._cheapest = [math.inf, math.inf]
        self.late = False

    @property
    def spent(self) -> float:
        """Seconds that it has taken until now."""
        return self._spent + (self._clock() - self._began if self._began is not None else 0.0)

    @property
    def given_up(self) -> bool:
        """Whether it has left rows undecided."""
        return self.late and not self._thorough

    def culprits(self, start: int, stop: int, why: str) -> Iterator[tuple[int, str]]:
        """The rows that raise when run alone, ascending, of rows that have raised together.

        It ends early where it is given up; the rows behind the last run that went well or was of one row are undecided.

        Args:
            start: The first row.
            stop: The row behind the last one.
            why: They raised.

        Yields:
            Row and why it raised.
        """
        if stop - start == 1:
            yield start, why
            return
        self._began = self._clock()
        suspects = stop  # the rows before this one have raised together
        while start < stop:
            self.late |= self.spent >= self._seconds
            if self.given_up:
                break
            end = min(start + self._group(), stop if suspects <= start else start + max(1, (suspects - start) // 2))
            error = self._timed_run(start, end)
            if error is not None and end - start > 1:
                suspects = end
                continue
            self._decided += end - start
            if error is not None:
                self._culprits += 1
                yield start, error
                suspects = end
            start = end
        self._spent, self._began = self.spent, None

    def _timed_run(self, start: int, stop: int) -> str | None:
        began = self._clock()
        error = self._run(start, stop)
        raised = int(error is not None)
        self._cheapest[raised] = min(self._cheapest[raised], self._clock() - began)
        return error

    def _group(self) -> int:
        """Rows that are worth a run together."""
        if not self._culprits:
            return self._decided or 1 << 62
        well, raising = self._cheapest
        shorter = _DEAR * well / raising if well < math.inf and raising > 0 else 1.0
        return max(1, int(self._decided / (2 * self._culprits) * min(1.0, shorter)))
