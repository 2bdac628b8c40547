"""What limits see of a summary: how much of what a candidate was asked it failed, whoever tries again counted once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from streamsplit.core.arm_sums import Limited
from streamsplit.core.judging.repeats import MOST_OF_LIMITS, Repeats
from streamsplit.core.summary import Summary


@dataclass(frozen=True, slots=True)
class Tried:
    """What one candidate was asked, by one summary.

    Attributes:
        counts: Of its requests.
        repeats: Those of its errors whose unit had failed before: who tries again has asked once.
        batches: Batches of which it had a share.
        failed: Those of them in which its whole share fell.
    """

    counts: Limited
    repeats: int
    batches: int
    failed: int


class Tries:
    """Remembers who has failed, for limits.

    Args:
        sticky: Whether a unit has many requests: a user who fails in every window fails once in each.
    """

    def __init__(self, *, sticky: bool) -> None:
        self._sticky = sticky
        self._repeats = Repeats(MOST_OF_LIMITS)
        self._window = -1

    def enter(self, window: int) -> None:
        """Note the window that log time is in, by its start in milliseconds since the epoch."""
        if self._sticky and window > self._window:
            self._window, self._repeats = window, Repeats(MOST_OF_LIMITS)

    def of(self, summary: Summary, arm: str, counts: Limited) -> Tried:
        """What a summary says of a candidate.

        Args:
            summary: The summary; each once.
            arm: The candidate.
            counts: What it adds to the candidate's requests.
        """
        again = self._repeats.of_summary(arm, [each for each in summary.failing if each.arm == arm])
        runs = [each for each in summary.runs if each.arm == arm]
        batches, failed = sum(each.batches for each in runs), sum(each.candidate_failed for each in runs)
        return Tried(counts, min(again, counts.errors), batches, min(failed, batches))

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {"repeats": self._repeats.to_plain(), "window": self._window}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, sticky: bool) -> Self:
        """What `to_plain` gave.

        Raises:
            ValueError, KeyError, TypeError: It is no such state.
        """
        tries = cls(sticky=sticky)
        tries._repeats = Repeats.from_plain(plain["repeats"], MOST_OF_LIMITS)
        tries._window = int(plain["window"])
        return tries
