"""Where a worker's CPU time goes, by the counters in its statuses."""

from collections import Counter
from collections.abc import Sequence

from benchmarks.rows import STAGE
from benchmarks.ruler import Stretch
from streamsplit.core.status import Status
from streamsplit.kafka.status_reader import StatusReader

SUMMARY = f"{STAGE}summary"


class Watch:
    """Keeps every status that arrives.

    Args:
        reader: Of the statuses.
    """

    def __init__(self, reader: StatusReader) -> None:
        self._reader = reader
        self._heard: list[Status] = []

    def poll(self, seconds: float) -> None:
        """Take in what arrives within so many seconds."""
        self._heard += self._reader.poll(seconds)

    def stages(self, stretch: Stretch) -> dict[str, float]:
        """`cpu:<stage>` → CPU µs a request within a stretch; empty where the workers do not count it."""
        return stages([each for each in self._heard if stretch.from_ms <= each.written_ms <= stretch.to_ms])


def stages(statuses: Sequence[Status]) -> dict[str, float]:
    """`cpu:<stage>` → CPU µs a request between the first and the last status of each worker, all workers together."""
    first: dict[str, Status] = {}
    last: dict[str, Status] = {}
    for status in statuses:
        first.setdefault(status.incarnation, status)
        last[status.incarnation] = status
    grown: Counter[str] = Counter()
    for name, status in last.items():
        before = first[name].totals
        grown.update({key: total - before.get(key, 0) for key, total in status.totals.items()})
    if not grown["requests"]:
        return {}
    return {key: micros / grown["requests"] for key, micros in grown.items() if key.startswith(STAGE)}
