"""Whether a candidate could bear all of the traffic: its measured time a row, by the rate of all requests.

It decides nothing by comparison with control: a model that is fast enough at 10 % may be too slow for everything.
"""

from collections.abc import Mapping
from typing import Any

from streamsplit.core.decision import Reading, Verdict
from streamsplit.core.judging.guard import CandidateWindow

NAME = "capacity"

_MICROS = 1e6
_LEAST_ROWS = 1000
"""Timed rows from which on a time a row is believed."""

_DECAY = 2.0 ** (-1 / 20)
"""Half-life of 20 windows."""


class Capacity:
    """The share of its processes' time that a candidate would need at 100 %.

    Args:
        arm: Its name.
    """

    def __init__(self, arm: str) -> None:
        self._arm = arm
        self._rows = self._micros = 0.0
        self._timed = 0
        self._rate = 0.0
        self._processes = 1

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window."""
        rows = sum([int(each.rows.sum()) for each in window.probes])
        self._rows = self._rows * _DECAY + rows
        self._micros = self._micros * _DECAY + sum([int(each.candidate.sum()) for each in window.probes])
        self._timed += rows
        self._rate, self._processes = window.requests / window.seconds, max(1, window.workers)

    def reading(self) -> Reading:
        """What it would need, as a share of what its processes have: one in each worker."""
        needed = None
        if self._timed >= _LEAST_ROWS:
            needed = self._micros / self._rows * self._rate / _MICROS / self._processes
        return Reading(
            guard=NAME,
            arm=self._arm,
            verdict=Verdict.HELD if needed is not None and needed > 1 else Verdict.OPEN,
            control=1.0,
            candidate=needed,
            unit="%",
            counts={"timed_rows": self._timed, "requests_per_second": self._rate, "processes": self._processes},
        )

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            "rows": self._rows,
            "micros": self._micros,
            "timed": self._timed,
            "rate": self._rate,
            "processes": self._processes,
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._rows, self._micros, self._rate = (float(plain[name]) for name in ("rows", "micros", "rate"))
        self._timed, self._processes = int(plain["timed"]), int(plain["processes"])
