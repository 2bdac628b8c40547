"""Time as the log of summaries tells it, whatever the clocks of single workers say.

Log time is a stopwatch that is set to the clock of the first summary. Each worker moves it by what passed on its own
clock between two of its summaries; how far two workers' clocks are apart is of no account. A worker that is new, or was
silent for longer than `SILENCE_MS`, joins at the present log time. So
- a clock that is hours off, either way, neither stops nor rushes it;
- a clock that is set back costs at most what passed between two summaries of its worker;
- a clock that is set forward, and a time in which nobody wrote, count as at most `SILENCE_MS`;
- once the worker that led is gone, another leads after at most `SILENCE_MS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SILENCE_MS = 10_000
"""A worker that has written nothing for longer is gone; one that lives writes at least once a second."""

SKEW_MS = 10_000
"""A clock further behind that of another worker than this is wrong; one that is less far behind is taken as it is."""


@dataclass(slots=True)
class _Slot:
    written: int
    reached: int
    sequence: int


class LogTime:
    """The stopwatch, and who moves it.

    Attributes:
        now: Log time, milliseconds since the epoch; 0 before the first summary. It never falls.
        missing: Summaries that the numbers of their neighbours tell of: a transaction was aborted (its requests come
            again) or the summary is lost.
        restarts: How often a slot's numbers began again.
    """

    def __init__(self) -> None:
        self.now = 0
        self.missing = 0
        self.restarts = 0
        self._slots: dict[str, _Slot] = {}
        self._set = False

    def hear(self, slot: str, sequence: int, written: int) -> None:
        """Move on by what passed on the writer's clock since its last summary.

        Args:
            slot: Who wrote.
            sequence: Number of the summary.
            written: The writer's time, milliseconds since the epoch; any.
        """
        if not self._set:
            self.now, self._set = written, True
        known = self._slots.get(slot)
        if known is None:
            self._slots[slot] = _Slot(written, self.now, sequence)
            return
        if sequence <= known.sequence:
            self.restarts += 1
        else:
            self.missing += sequence - known.sequence - 1
        known.reached += min(max(written - known.written, 0), SILENCE_MS)
        known.written, known.sequence = written, sequence
        if known.reached > self.now:
            self.now = known.reached
            self._slots = {name: one for name, one in self._slots.items() if one.reached >= self.now - SILENCE_MS}

    def processed(self, written: int) -> int:
        """When a summary's requests were served: the writer's time, or, if that is far behind, the foremost one's.

        Args:
            written: The writer's time, milliseconds since the epoch.
        """
        foremost = max((one.written for one in self._slots.values()), default=written)
        return foremost if foremost - written > SKEW_MS else written

    @property
    def writers(self) -> int:
        """How many workers have written lately."""
        return sum(one.reached >= self.now - SILENCE_MS for one in self._slots.values())

    def to_plain(self) -> dict[str, object]:
        """All of it, for JSON."""
        slots = [[name, one.written, one.reached, one.sequence] for name, one in sorted(self._slots.items())]
        return {
            "now": self.now if self._set else None,
            "missing": self.missing,
            "restarts": self.restarts,
            "slots": slots,
        }

    @classmethod
    def from_plain(
        cls, now: int | None, missing: int, restarts: int, slots: Sequence[tuple[str, int, int, int]]
    ) -> "LogTime":
        """What `to_plain` wrote."""
        time = cls()
        time.now, time._set = now or 0, now is not None
        time.missing, time.restarts = missing, restarts
        time._slots = {name: _Slot(written, reached, sequence) for name, written, reached, sequence in slots}
        return time
