"""One ruler for all processes under test: requests done by the group's committed offsets, CPU by the kernel's count."""

import subprocess
import time
from dataclasses import dataclass

import psutil
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from benchmarks.ground import PARTITIONS
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.offline.ranges import committed_offsets

_LOOK_SECONDS = 0.05
_ASK_SECONDS = 5.0
_COORDINATOR_SECONDS = 30.0
_LONGEST_SECONDS = 300.0


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
            ValueError: Nothing was done between them.
        """
        if last.requests <= first.requests or last.seconds <= first.seconds:
            raise ValueError("expected two looks with requests between them: let the backlog be larger")
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


class Ruler:
    """Measures a process that works off a backlog.

    Args:
        connection: The brokers.
        group: The process's consumer group.
        topic: Its topic, of `PARTITIONS` partitions that begin at offset 0 and are not written in transactions.

    Raises:
        ServiceError: The group's coordinator does not answer.
    """

    def __init__(self, connection: Connection, group: str, topic: str) -> None:
        # librdkafka 2.16 ends the process with a fault where an admin client asks a coordinator that is still loading;
        # a consumer waits for it.
        _await_coordinator(connection, group, topic)
        self._admin = connection.admin()
        self._asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, each) for each in range(PARTITIONS)])
        self._group = group

    def measure(self, process: subprocess.Popen[bytes], warm_up: int, end: int) -> Stretch:
        """Wait until the warm-up is done, then until the end; what lies between.

        Args:
            process: What is measured, with its descendants.
            warm_up: Requests that are left out.
            end: Requests after which it stops to count; a little below the backlog, whose last batches are not full.

        Raises:
            ServiceError: The process ended or did not come so far.
        """
        tree = psutil.Process(process.pid)
        self._reach(warm_up, process)
        first = self._look(tree)
        self._reach(end, process)
        return Stretch.between(first, self._look(tree))

    def _look(self, tree: psutil.Process) -> Reading:
        done = self._done()
        return Reading(time.monotonic(), time.time_ns() // 1_000_000, done, cpu_seconds(tree))

    def _reach(self, requests: int, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _LONGEST_SECONDS
        while (done := self._done()) < requests:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"{self._group} came to {done} requests only, of {requests}")
            time.sleep(_LOOK_SECONDS)

    def _done(self) -> int:
        answer = self._admin.list_consumer_group_offsets([self._asked], request_timeout=_ASK_SECONDS)
        partitions = answer[self._group].result().topic_partitions
        return sum(max(0, each.offset) for each in partitions if each.error is None)


def _await_coordinator(connection: Connection, group: str, topic: str) -> None:
    """Return when the brokers can answer for a group.

    Raises:
        ServiceError: They cannot within half a minute; with what they said.
    """
    deadline = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        try:
            committed_offsets(connection, group, topic, range(PARTITIONS))
        except ServiceError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS)
        else:
            return


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
