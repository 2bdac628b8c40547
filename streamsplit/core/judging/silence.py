"""Times without a request: no window closes then, and a deadline passes all the same."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Self


@dataclass(slots=True)
class Silence:
    """What was said of the time since something was last counted.

    Attributes:
        since: Log time at which something was last counted, or the first step began; None before.
        told: Whether it was said that nothing comes.
        passed: Whether it was said that the deadline has passed meanwhile.
    """

    since: int | None = None
    told: bool = False
    passed: bool = False

    def broken(self, log_time: int) -> None:
        """Something was counted, or the first step has begun."""
        self.since, self.told, self.passed = log_time, False, False

    def renewed(self) -> None:
        """What was said was said under another state."""
        self.told = self.passed = False

    def due(self, log_time: int, patience_ms: int, *, passed: bool) -> bool:
        """Whether there is something to say, which then counts as said: once that nothing comes, once that it is late.

        Args:
            log_time: Now, milliseconds since the epoch.
            patience_ms: How long nothing is said.
            passed: Whether the deadline has passed.
        """
        if self.since is None or log_time - self.since < patience_ms:
            return False
        if self.told and (self.passed or not passed):
            return False
        self.told, self.passed = True, passed
        return True

    def to_plain(self) -> Sequence[Any]:
        """As JSON can hold it, exactly."""
        return list(astuple(self))

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Self:
        """What `to_plain` gave."""
        return cls(*plain)
