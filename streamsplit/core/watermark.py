"""How far request time has come over all partitions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamsplit.core.log_time import SILENCE_MS
from streamsplit.core.summary import PartitionProgress


@dataclass(slots=True)
class _Partition:
    """Of one partition.

    Attributes:
        newest: Newest request time that was seen, milliseconds since the epoch; None: none yet.
        moved: Log time at which it last had requests, or more to read.
        named: Log time at which a worker last named it.
    """

    newest: int | None
    moved: int
    named: int


class Watermark:
    """The least of the newest request times of all partitions that are read and not idle.

    A partition is idle once its reader has said for a window of log time that its position is at its end; nobody reads
    it once no worker has named it for `SILENCE_MS`. One that is read, is not idle and has not shown a time yet holds
    the watermark. Where no partition counts, request time goes on from the newest time seen at the pace of log time.

    Args:
        window_ms: Length of a window in milliseconds.
    """

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._partitions: dict[int, _Partition] = {}
        self._front: tuple[int, int] | None = None

    def move(self, partitions: Iterable[PartitionProgress], newest: int, future: int, now: int) -> None:
        """Take in where a worker stands.

        Args:
            partitions: The partitions it reads.
            newest: Latest time that a summary's requests can have; a newest request time after it is a wrong one.
            future: What is taken for it then.
            now: Log time.
        """
        for each in partitions:
            one = self._partitions.setdefault(each.partition, _Partition(None, now, now))
            one.named = now
            if each.lag != 0 or each.end > each.start or each.newest_request_time is not None:
                one.moved = now
            if each.newest_request_time is None:
                continue
            time = each.newest_request_time if each.newest_request_time <= newest else future
            if one.newest is None or time > one.newest:
                one.newest = time
            if self._front is None or time > self._front[0]:
                self._front = (time, now)

    def at(self, now: int) -> int | None:
        """The watermark at a log time, milliseconds since the epoch; None where a partition holds it. It may fall."""
        times = [
            one.newest
            for one in self._partitions.values()
            if one.named - one.moved < self._window_ms and now - one.named <= SILENCE_MS
        ]
        if times:
            known = [time for time in times if time is not None]
            return min(known) if len(known) == len(times) else None
        return self._front[0] + now - self._front[1] if self._front else None

    def to_plain(self) -> dict[str, object]:
        """All of it but the length of a window, for JSON."""
        partitions = [[number, one.newest, one.moved, one.named] for number, one in sorted(self._partitions.items())]
        return {"front": self._front, "partitions": partitions}

    @classmethod
    def from_plain(
        cls,
        window_ms: int,
        front: Sequence[int] | None,
        partitions: Sequence[tuple[int, int | None, int, int]],
    ) -> "Watermark":
        """What `to_plain` wrote."""
        mark = cls(window_ms)
        mark._front = (front[0], front[1]) if front else None
        mark._partitions = {number: _Partition(newest, moved, named) for number, newest, moved, named in partitions}
        return mark
