"""From summaries to closed windows: by request time, each window once, in order (docs/design.md section 13).

What comes out is a function of the order of the summaries alone, and without late requests not even of that.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from streamsplit.core import arm_sums
from streamsplit.core.arm_sums import Limited
from streamsplit.core.doses import ClosedWindow
from streamsplit.core.log_time import LogTime
from streamsplit.core.open_window import Entry, OpenWindow
from streamsplit.core.summary import FirstCounts, Summary, WindowCounts
from streamsplit.core.watermark import Watermark
from streamsplit.core.windows import window_start

MOST_OPEN = 64
"""Most windows that are open; requests more than so many windows before all that came with them are late."""

PATIENCE_MS = 60_000
"""The oldest window is closed after so much log time beyond its length and grace, whoever holds the watermark: a
partition that is stuck, or far behind the others, does not stop the judge."""

MOST_REVISIONS = 256
"""Most revisions that are remembered as seen."""

_VERSION = 1


class Windows:
    """The open windows of one rollout.

    A window is closed when the watermark (`Watermark`) has passed its end by the grace. Requests that come later are
    late: they count in the oldest open window, for their own rule and revision. A request whose time lies beyond the
    time it was served at plus the grace counts in the newest other window of its summary (alone: in that of the time it
    was served at), and its time moves nothing; one whose time lies more than `MOST_OPEN` windows before all others of
    its summary is late. Windows without requests are not told of.

    Where more than `MOST_OPEN` windows are open, the oldest is counted in the next, as late.

    Summaries of another rollout, or of an earlier apply of this one, tell time and positions and nothing else.

    Args:
        window_ms: Length of a window in milliseconds; positive.
        grace_ms: How long a window waits for stragglers, in milliseconds; not negative.
        rollout: Name of the rollout; None: that of the first summary.
        apply_revision: Least revision that is its own.

    Attributes:
        revision: Highest revision that its summaries have named; -1 before the first.
        late: Requests that came after their window was closed.
        ahead: Counts, of any kind, whose time was later than they were served at plus the grace.
        foreign: Summaries of other rollouts.
    """

    def __init__(self, window_ms: int, grace_ms: int, rollout: str | None = None, apply_revision: int = -1) -> None:
        self.window_ms = window_ms
        self.grace_ms = grace_ms
        self.rollout = rollout
        self.apply_revision = apply_revision
        self.revision = -1
        self.late = 0
        self.ahead = 0
        self.foreign = 0
        self._time = LogTime()
        self._mark = Watermark(window_ms)
        self._watermark: int | None = None
        self._horizon: int | None = None  # windows that begin before it are closed
        self._open: dict[int, OpenWindow] = {}
        self._seen: set[int] = set()

    @property
    def log_time(self) -> int:
        """Log time (`LogTime`), milliseconds since the epoch; 0 before the first summary."""
        return self._time.now

    @property
    def watermark(self) -> int | None:
        """How far request time has come, milliseconds since the epoch; None while that is not known."""
        return self._watermark

    @property
    def writers(self) -> int:
        """How many workers have written lately."""
        return self._time.writers

    @property
    def missing(self) -> int:
        """Summaries that should have come between others: of aborted transactions, or lost."""
        return self._time.missing

    @property
    def restarts(self) -> int:
        """How often a worker's summaries were numbered anew."""
        return self._time.restarts

    @property
    def patience_ms(self) -> int:
        """Log time for which a window is open at most."""
        return self.window_ms + self.grace_ms + PATIENCE_MS

    @property
    def open(self) -> tuple[int, ...]:
        """Beginnings of the open windows, ascending."""
        return tuple(sorted(self._open))

    def take(self, summary: Summary) -> tuple[ClosedWindow, ...]:
        """Count a summary; the windows that it closes, oldest first."""
        self._time.hear(summary.slot, summary.sequence, summary.written_time)
        latest = self._time.processed(summary.written_time) + self.grace_ms
        counted: tuple[Entry, ...] = (*summary.windows, *summary.mirrored)
        newest = max((each.start for each in counted if each.start <= latest), default=latest)
        if self._own(summary):
            self.revision = max(self.revision, summary.revision)
            self._count(summary, latest, newest)
        else:
            self.foreign += 1
        self._mark.move(summary.partitions, latest, newest, self.log_time)
        self._bound()
        return tuple(self._close())

    def deltas(self, summary: Summary) -> Mapping[str, Limited]:
        """Arm → what a summary adds to it, for limits, which wait for no window; nothing for another rollout's."""
        return arm_sums.deltas(summary) if self._own(summary) else {}

    def _own(self, summary: Summary) -> bool:
        if self.rollout is None and summary.revision >= self.apply_revision:
            self.rollout = summary.rollout
        return summary.rollout == self.rollout and summary.revision >= self.apply_revision

    def _count(self, summary: Summary, latest: int, newest: int) -> None:
        """Count all entries of a summary, the late ones last: it may open the window that they belong in.

        Args:
            summary: The summary.
            latest: Latest time that its requests can have.
            newest: What is taken for later ones.
        """
        floor = self._floor(summary, latest)
        late: list[Entry] = []
        entries: tuple[Entry, ...] = (*summary.windows, *summary.mirrored, *summary.runs, *summary.failing)
        for each in (*entries, *summary.probes, *map(FirstCounts, summary.firsts)):
            self.ahead += each.start > latest
            start = window_start(self.window_ms, each.start if each.start <= latest else newest)
            if floor is not None and start < floor:
                late.append(each)
            else:
                self._window(start).add(summary, each)
        if not late:
            return
        oldest = self._window(min(self._open, default=floor if floor is not None else 0))
        for each in late:
            oldest.add(summary, each)
        requests = sum(each.requests for each in late if isinstance(each, WindowCounts))
        oldest.late_requests += requests
        self.late += requests

    def _floor(self, summary: Summary, latest: int) -> int | None:
        """The least beginning of a window that a summary's requests may still count in; None: any."""
        known = (each.newest_request_time for each in summary.partitions)
        base = min((time for time in known if time is not None and time <= latest), default=None)
        if base is None:
            return self._horizon
        floor = window_start(self.window_ms, base) - MOST_OPEN * self.window_ms
        return floor if self._horizon is None else max(floor, self._horizon)

    def _window(self, start: int) -> OpenWindow:
        if start not in self._open:
            self._open[start] = OpenWindow(start, self.log_time)
        return self._open[start]

    def _bound(self) -> None:
        """Count the oldest windows in the next while there are too many."""
        starts = sorted(self._open)
        for start, following in pairwise(starts[: max(0, len(starts) - MOST_OPEN) + 1]):
            self.late += self._open[following].absorb(self._open.pop(start))
            self._horizon = following

    def _close(self) -> Iterator[ClosedWindow]:
        mark = self._mark.at(self.log_time)
        if mark is not None:
            self._watermark = mark if self._watermark is None else max(mark, self._watermark)
            self._raise(window_start(self.window_ms, self._watermark - self.grace_ms))
        for start in sorted(self._open):
            window = self._open[start]
            passed = self._horizon is not None and start < self._horizon
            if not passed and self.log_time - window.opened < self.patience_ms:
                break
            del self._open[start]
            self._raise(start + self.window_ms)
            warming = tuple(sorted(window.revisions() - self._seen))
            self._seen = set(sorted(self._seen.union(warming))[-MOST_REVISIONS:])
            yield window.close(start + self.window_ms, warming)

    def _raise(self, horizon: int) -> None:
        self._horizon = horizon if self._horizon is None else max(horizon, self._horizon)

    def to_plain(self) -> dict[str, Any]:
        """All of it as JSON can hold it, exactly; some KB, however many requests there are."""
        return {
            "version": _VERSION,
            "window_ms": self.window_ms,
            "grace_ms": self.grace_ms,
            "rollout": self.rollout,
            "apply_revision": self.apply_revision,
            "revision": self.revision,
            "late": self.late,
            "ahead": self.ahead,
            "foreign": self.foreign,
            "time": self._time.to_plain(),
            "mark": self._mark.to_plain(),
            "watermark": self._watermark,
            "horizon": self._horizon,
            "seen": sorted(self._seen),
            "open": [self._open[start].to_plain() for start in sorted(self._open)],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Windows":
        """What `to_plain` gave, also through JSON.

        Raises:
            ValueError: It is of another version.
        """
        if plain["version"] != _VERSION:
            raise ValueError(
                f"the judge's state has windows of version {plain['version']}, and this program knows {_VERSION}: "
                "let the program that wrote it end the rollout, or start the rollout again"
            )
        windows = cls(plain["window_ms"], plain["grace_ms"], plain["rollout"], plain["apply_revision"])
        windows.revision, windows.late = plain["revision"], plain["late"]
        windows.ahead, windows.foreign = plain["ahead"], plain["foreign"]
        windows._time = LogTime.from_plain(**plain["time"])
        windows._mark = Watermark.from_plain(windows.window_ms, **plain["mark"])
        windows._watermark, windows._horizon = plain["watermark"], plain["horizon"]
        windows._seen = set(plain["seen"])
        windows._open = {each["start"]: OpenWindow.from_plain(each) for each in plain["open"]}
        return windows
