"""Backlogs: topics full of requests, written once and read by every row that wants the same."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

from confluent_kafka import Producer

from benchmarks.ground import PARTITIONS, make, remove
from benchmarks.loads import Load, Record
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.offline.ranges import extents

PREFIX = "bench-backlog."
HEADERS: tuple[tuple[str, bytes], ...] = (
    ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("tenant", b"new-york"),
)
"""As in users' topics: a trace and a word."""

DISTINCT = 250_000
_FLUSH_SECONDS = 120.0
_SERVED_EACH = 1000
_HELD_MS = 600_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """A topic full of requests.

    Attributes:
        topic: Its name.
        load: What is in it.
        count: How many requests.
        partitions: Of the topic.
    """

    topic: str
    load: Load
    count: int
    partitions: int


class Backlogs:
    """All backlogs of a run.

    Args:
        connection: The brokers.
        tell: Told what is written.
    """

    def __init__(self, connection: Connection, tell: Callable[[str], None]) -> None:
        self._connection = connection
        self._tell = tell
        self._made: dict[str, Backlog] = {}
        self._records: tuple[str, Sequence[Record]] = ("", ())

    def of(self, load: Load, count: int, *, partitions: int = PARTITIONS, headers: bool = False) -> Backlog:
        """The backlog of so many requests, written when it is first asked for."""
        topic = f"{PREFIX}{load.name}.{count}.{partitions}{'.headers' if headers else ''}"
        if topic not in self._made:
            self._tell(f"writing {count:,} requests to {topic}")
            make(self._connection, {topic: partitions})
            fill(self._connection, topic, self._distinct(load, count), count, headers=headers)
            self._made[topic] = Backlog(topic, load, count, partitions)
        return self._made[topic]

    def drop(self, backlog: Backlog) -> None:
        """Remove a backlog that nobody asks for any more."""
        del self._made[backlog.topic]
        remove(self._connection, backlog.topic)

    def _distinct(self, load: Load, count: int) -> Sequence[Record]:
        """Encoded once for all backlogs of a load; of one load at a time, as they may be large."""
        key = f"{load.name}.{min(count, DISTINCT)}"
        if self._records[0] != key:
            self._records = (key, load.records(min(count, DISTINCT)))
        return self._records[1]


def fill(connection: Connection, topic: str, records: Sequence[Record], count: int, *, headers: bool = False) -> None:
    """Write so many requests as fast as the brokers take them; the partition follows from the key.

    Raises:
        ServiceError: Not all of them were acknowledged.
    """
    before = _size(connection, topic)
    producer = _producer(connection)
    _produce(producer, topic, islice(cycle(records), count), list(HEADERS) if headers else None)
    producer.flush(_FLUSH_SECONDS)
    # A callback for each record would cost more than the record: the ends of the partitions tell.
    if (written := _size(connection, topic) - before) != count:
        raise ServiceError(f"{count - written} of {count} requests could not be written to {topic}")


@contextmanager
def held(connection: Connection, topic: str, load: Load, count: int) -> Iterator[tuple[Backlog, Callable[[], None]]]:
    """A backlog of its own that nobody sees before it is released: written in a transaction that is open until then.

    Args:
        connection: The brokers.
        topic: Where to; gone at the end.
        load: What is in it.
        count: How many requests.

    Yields:
        The backlog, and what lets read-committed consumers see it.
    """
    make(connection, {topic: PARTITIONS})
    try:
        producer = _producer(connection, transactional_id=topic, transaction_timeout_ms=_HELD_MS)
        producer.init_transactions(_FLUSH_SECONDS)
        producer.begin_transaction()
        _produce(producer, topic, islice(cycle(load.records(min(count, DISTINCT))), count), None)
        producer.flush(_FLUSH_SECONDS)
        yield Backlog(topic, load, count, PARTITIONS), lambda: producer.commit_transaction(_FLUSH_SECONDS)
    finally:
        remove(connection, topic)


def _producer(connection: Connection, **settings: object) -> Producer:
    return connection.producer(
        "bench-fill",
        linger_ms=20,
        batch_size=1_000_000,
        batch_num_messages=10_000,
        queue_buffering_max_messages=1_000_000,
        queue_buffering_max_kbytes=1_048_576,
        partitioner="murmur2_random",
        **settings,
    )


def _produce(
    producer: Producer, topic: str, records: "islice[Record]", headers: list[tuple[str, bytes]] | None
) -> None:
    more = {"headers": headers} if headers else {}
    for number, (key, value) in enumerate(records):
        while True:
            try:
                producer.produce(topic, value, key, **more)  # type: ignore[arg-type] # headers as the client documents them
                break
            except BufferError:
                producer.poll(0.1)
        if number % _SERVED_EACH == 0:
            producer.poll(0)


def _size(connection: Connection, topic: str) -> int:
    return sum(extent.end for extent in extents(connection, topic).values())
