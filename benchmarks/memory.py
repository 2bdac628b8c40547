"""Resident memory of a worker, without its model processes, over a long run that is fed on the way."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import psutil
from confluent_kafka import OFFSET_END, TopicPartition

from benchmarks.backlog import fill
from benchmarks.ground import Deployment, deployment
from benchmarks.loads import Load
from benchmarks.processes import Process, workers
from benchmarks.rows import STREAMSPLIT, Ledger, Row
from benchmarks.ruler import Ruler
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.offline.ranges import committed_offsets

_CHUNK = 100_000
_AHEAD = 300_000
_DISTINCT = 100_000
_LOOK_SECONDS = 0.2
_SILENT_SECONDS = 120.0
_MB = 1e6
_POINTS = 20
_LEAST_SAMPLES = 20

BROKER = {
    "log.segment.bytes": f"{64 * 2**20}",
    "log.retention.check.interval.ms": "5000",
    "file.delete.delay.ms": "1000",
}
"""Server properties with which what has been read really leaves the disk."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look.

    Attributes:
        requests: Answered so far.
        rss_mb: Resident memory of the worker's own process, in MB.
    """

    requests: int
    rss_mb: float


def measure(connection: Connection, load: Load, requests: int, tell: Callable[[str], None]) -> tuple[Row, ...]:
    """Let one worker answer so many requests.

    Args:
        connection: The brokers.
        load: What is sent, again and again.
        requests: How many.
        tell: Told how far it is.

    Raises:
        ServiceError: The worker failed.
    """
    with deployment(connection, "memory", load) as mine:
        ruler = Ruler(connection, mine.group, mine.topics.requests, mine.partitions)
        with workers(mine.settings) as started:
            mine.begin(load.application())
            samples = _Run(mine, ruler, started, tell).watch(load, requests)
    return rows(load.name, samples)


def rows(load: str, samples: Sequence[Sample]) -> tuple[Row, ...]:
    """The greatest and the growth, and the way there.

    Growth is the median of the last quarter of the requests by that of the second: in the first, queues and allocators
    fill.

    Raises:
        ServiceError: There are too few samples to speak of growth.
    """
    if len(samples) < _LEAST_SAMPLES:
        raise ServiceError(f"{len(samples)} looks are too few to speak of growth: let the run be longer")
    whole, path = Ledger("memory"), Ledger("scale")
    total = samples[-1].requests
    early = median(each.rss_mb for each in samples if 0.25 * total <= each.requests <= 0.5 * total)
    late = median(each.rss_mb for each in samples if each.requests >= 0.75 * total)
    figures = {"rss_mb": max(each.rss_mb for each in samples), "rss_growth": late / early, "count": total}
    whole.add({"subject": STREAMSPLIT, "load": load}, figures)
    for each in samples[:: math.ceil(len(samples) / _POINTS)]:
        path.add({"axis": "requests served", "at": each.requests}, {"rss_mb": each.rss_mb})
    return whole.rows() + path.rows()


class _Run:
    def __init__(self, mine: Deployment, ruler: Ruler, started: Process, tell: Callable[[str], None]) -> None:
        self._mine = mine
        self._ruler = ruler
        self._started = started
        self._tell = tell
        self._tree = psutil.Process(started.pid)
        self._trimmed = 0

    def watch(self, load: Load, requests: int) -> list[Sample]:
        """Keep the worker fed, trim what it has read, and look at its memory."""
        records = load.records(_DISTINCT)
        samples: list[Sample] = []
        sent, done, moved = 0, 0, time.monotonic()
        while done < requests:
            if sent < requests and sent - done < _AHEAD:
                fill(self._mine.connection, self._mine.topics.requests, records, min(_CHUNK, requests - sent))
                sent += min(_CHUNK, requests - sent)
            else:
                time.sleep(_LOOK_SECONDS)
            before, done = done, self._ruler.done()
            moved = time.monotonic() if done != before else moved
            if self._started.poll() is not None or time.monotonic() - moved > _SILENT_SECONDS:
                raise ServiceError(f"the worker came to {done} requests only, of {requests}")
            if done != before:
                samples.append(Sample(done, self._tree.memory_info().rss / _MB))
            self._trim(done)
        return samples

    def _trim(self, done: int) -> None:
        """Let the brokers forget what was read, so that a long run needs no long disk."""
        if done - self._trimmed < 10 * _CHUNK:
            return
        self._trimmed = done
        topics, partitions = self._mine.topics, range(self._mine.partitions)
        read = committed_offsets(self._mine.connection, self._mine.group, topics.requests, partitions)
        ends = [TopicPartition(topics.requests, number, offset) for number, offset in read.items()]
        ends += [
            TopicPartition(name, each, OFFSET_END) for name in (topics.outputs, topics.audit) for each in partitions
        ]
        admin = self._mine.connection.admin()
        for future in admin.delete_records(ends).values():
            future.result()
        self._tell(f"memory: {done:,} requests answered, {self._tree.memory_info().rss / _MB:.0f} MB")
