"""One ruler for all systems under test: requests done by the group's committed offsets, CPU by the kernel's count."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from benchmarks.asking import ask_until
from benchmarks.backlog import Backlog
from benchmarks.processes import Process
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.offline.ranges import committed_offsets

_LOOK_SECONDS = 0.05
_ASK_SECONDS = 5.0
_COORDINATOR_SECONDS = 30.0
_SILENT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One look.

    Attributes:
        seconds: Monotonic.
        wall_ms: Milliseconds since the epoch.
        requests: Committed by the group so far.
        cpu_seconds: User and system time of the process and all its descendants, also of those that have ended.
    """

    seconds: float
    wall_ms: int
    requests: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """What happened between two looks.

    Attributes:
        requests: Committed.
        seconds: Of wall time.
        cpu_seconds: Of all processes together.
        from_ms: When it began, milliseconds since the epoch.
        to_ms: When it ended.
    """

    requests: int
    seconds: float
    cpu_seconds: float
    from_ms: int
    to_ms: int

    @classmethod
    def between(cls, first: Reading, last: Reading) -> "Stretch":
        """The stretch from one look to a later one.

        Raises:
            ServiceError: Nothing was done between them.
        """
        if last.requests <= first.requests or last.seconds <= first.seconds:
            raise ServiceError(
                f"all {last.requests} requests were done before the warm-up was over: let the backlog be larger"
            )
        return cls(
            last.requests - first.requests,
            last.seconds - first.seconds,
            last.cpu_seconds - first.cpu_seconds,
            first.wall_ms,
            last.wall_ms,
        )

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_micros(self) -> float:
        """CPU time of a request, in microseconds."""
        return self.cpu_seconds / self.requests * 1e6


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a backlog is measured, by the same rule for all systems, as fast or slow as they are.

    Attributes:
        warm_share: Share of the backlog that is left out.
        warm_seconds: Least time that is left out, from the first commit.
        longest_warm_seconds: A slow system is measured after so long, whatever it has done.
        end_share: Share of the backlog at which it stops to count: the last batches are not full.
        seconds: Longest stretch.
    """

    warm_share: float = 0.2
    warm_seconds: float = 4.0
    longest_warm_seconds: float = 12.0
    end_share: float = 0.98
    seconds: float = 15.0

    def warm(self, share: float, seconds: float) -> bool:
        """Whether the warm-up is over, so much of the backlog and so long after the first commit."""
        enough = share >= self.warm_share and seconds >= self.warm_seconds
        return enough or seconds >= self.longest_warm_seconds

    def over(self, share: float, seconds: float) -> bool:
        """Whether the stretch is over, at so much of the backlog and so long after its beginning."""
        return share >= self.end_share or seconds >= self.seconds


class Ruler:
    """Measures processes that work off a backlog, whose partitions begin at offset 0.

    Args:
        connection: The brokers.
        group: The processes' consumer group.
        topic: Of requests, not written in transactions.
        partitions: Of the topic.

    Raises:
        ServiceError: The group's coordinator does not answer.
    """

    def __init__(self, connection: Connection, group: str, topic: str, partitions: int) -> None:
        # librdkafka 2.16 ends the process with a fault where an admin client asks a coordinator that is still loading;
        # a consumer waits for it.
        deadline = time.monotonic() + _COORDINATOR_SECONDS
        ask_until(deadline, lambda: committed_offsets(connection, group, topic, range(partitions)))
        self._admin = connection.admin()
        self._asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, each) for each in range(partitions)])
        self._group = group

    @classmethod
    def of(cls, connection: Connection, group: str, backlog: Backlog) -> "Ruler":
        """A ruler for those who work off a backlog."""
        return cls(connection, group, backlog.topic, backlog.partitions)

    def measure(
        self,
        process: Process,
        count: int,
        span: Span,
        *,
        ready: Callable[[], bool] = lambda: True,
        meanwhile: Callable[[float], object] = time.sleep,
    ) -> Stretch:
        """Wait until the warm-up is done, then until the end; what lies between.

        Both looks are taken right after a commit, so that a system that commits now and then is not measured by the
        place of its commits.

        Args:
            process: What is measured, with its descendants.
            count: Length of the backlog.
            span: Which part of it.
            ready: Whether the warm-up may end.
            meanwhile: How to wait for so many seconds.

        Raises:
            ServiceError: The process ended, stood still, or was done before its warm-up was over.
        """
        tree = psutil.Process(process.pid)

        def warm(done: int, seconds: float) -> bool:
            return (span.warm(done / count, seconds) and ready()) or done >= count

        self._reach(process, count, warm, meanwhile)
        first = self._look(tree)
        self._reach(process, count, lambda done, seconds: span.over(done / count, seconds), meanwhile)
        return Stretch.between(first, self._look(tree))

    def done(self) -> int:
        """Requests that the group has committed."""
        answer = self._admin.list_consumer_group_offsets([self._asked], request_timeout=_ASK_SECONDS)
        partitions = answer[self._group].result().topic_partitions
        return sum(max(0, each.offset) for each in partitions if each.error is None)

    def _look(self, tree: psutil.Process) -> Reading:
        done = self.done()
        return Reading(time.monotonic(), time.time_ns() // 1_000_000, done, cpu_seconds(tree))

    def _reach(
        self, process: Process, count: int, enough: Callable[[int, float], bool], meanwhile: Callable[[float], object]
    ) -> None:
        """Return right after a commit with which it is enough, by requests done and seconds since the first commit."""
        done, began, moved = self.done(), None, time.monotonic()
        while True:
            if process.poll() is not None or time.monotonic() - moved > _SILENT_SECONDS:
                raise ServiceError(f"{self._group} came to {done} requests only")
            before, done = done, self.done()
            now = time.monotonic()
            if done:
                began = began or now
            if done != before:
                moved = now
            if began is not None and (done != before or done >= count) and enough(done, now - began):
                return
            meanwhile(_LOOK_SECONDS)


def cpu_seconds(tree: psutil.Process) -> float:
    """User and system time of a process and its descendants; an ended one counts once its parent has waited for it."""
    total = 0.0
    for member in [tree, *tree.children(recursive=True)]:
        try:
            times = member.cpu_times()
        except psutil.NoSuchProcess:
            continue  # its parent has its time now, or never will
        total += times.user + times.system + times.children_user + times.children_system
    return total
