"""What summaries count of one arm: added up while a window is open, and what limits look at without waiting for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from streamsplit.core.doses import ERRORS, LATE, SERVED, ArmCounts
from streamsplit.core.summary import Summary, WindowCounts


@dataclass(slots=True)
class ArmSums:
    """What `ArmCounts` is of summaries, added up in place: a window takes in as many as there are transactions.

    Attributes are those of `ArmCounts`.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    scores: dict[int, int] = field(default_factory=dict)
    clipped: int = 0
    unscored: int = 0
    assigned: int = 0
    served: int = 0
    fallen: int = 0

    def count(self, counted: WindowCounts) -> None:
        """Take in the counts of a summary."""
        requests, errors, fallen = _row_test(counted)
        self.requests += requests
        self.errors += errors
        self.slow += counted.slow
        self._score(counted.scores)
        self.clipped += counted.clipped
        self.unscored += counted.unscored
        self.assigned += counted.requests
        self.served += counted.served_by_arm
        self.fallen += fallen

    def add(self, other: Self) -> None:
        """Take in the counts of another window."""
        self.requests += other.requests
        self.errors += other.errors
        self.slow += other.slow
        self._score(other.scores)
        self.clipped += other.clipped
        self.unscored += other.unscored
        self.assigned += other.assigned
        self.served += other.served
        self.fallen += other.fallen

    def closed(self) -> ArmCounts:
        """All of it; nothing is taken in any more."""
        return ArmCounts(
            self.requests,
            self.errors,
            self.slow,
            self.scores,
            self.clipped,
            self.unscored,
            self.assigned,
            self.served,
            self.fallen,
        )

    def _score(self, scores: Mapping[int, int]) -> None:
        mine = self.scores
        if not mine:
            self.scores = dict(scores)
            return
        known = mine.get
        for place, count in scores.items():
            mine[place] = known(place, 0) + count


class Limited(NamedTuple):
    """What a summary adds to what limits are judged by; a tuple, as there is one of each arm and summary.

    Attributes:
        requests: As in `ArmCounts`.
        errors: As in `ArmCounts`.
        slow: As in `ArmCounts`.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0


_UNTRIED = Limited()


def deltas(summary: Summary) -> dict[str, Limited]:
    """Arm → what a summary adds to it, its windows and rules together."""
    arms: dict[str, Limited] = {}
    for counted in summary.windows:
        requests, errors, _ = _row_test(counted)
        before = arms.get(counted.arm, _UNTRIED)
        arms[counted.arm] = Limited(before.requests + requests, before.errors + errors, before.slow + counted.slow)
    return arms


def _row_test(counted: WindowCounts) -> tuple[int, int, int]:
    """Requests of the row test, errors among them, and requests that have left it with their run (`ArmCounts`)."""
    rows, fallen = counted.outcomes, counted.fallen
    if fallen:
        rows = {label: max(0, count - fallen.get(label, 0)) for label, count in rows.items()}
    served, errors, gone = 0, 0, sum(fallen.values())
    for label, count in rows.items():
        if label in SERVED:
            served += count
        elif label in ERRORS:
            errors += count
        elif label in LATE:
            gone += count
    return served + errors, errors, gone
