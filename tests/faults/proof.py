"""What exactly once means, looked at without the program's own verification: plain consumers and plain counting."""

import io
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import fastavro
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import OffsetSpec

from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topics import Topics
from streamsplit.wire.schemas import packaged
from tests.faults.kept_worker import until

_READ_SECONDS = 60.0
"""Longest time in which no record comes, of as many as there are."""

_HEADER_BYTES = 10
_LETTER_PARTITION, _LETTER_OFFSET, _LETTER_STAGE = (
    f"__connect.errors.{word}" for word in ("partition", "offset", "stage")
)
_READ_COMMITTED, _READ_UNCOMMITTED = IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED

Place = tuple[int, int]
"""Partition and offset of a request."""


def ends(connection: Connection, topic: str, isolation: IsolationLevel = _READ_COMMITTED) -> dict[int, int]:
    """Partition → where a reader's log ends: the last stable offset, or the high watermark for one who reads all."""
    admin = connection.admin()

    def look() -> dict[int, int] | None:
        try:
            numbers = admin.list_topics(topic, timeout=10).topics[topic].partitions
            asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in numbers}
            found = admin.list_offsets(asked, isolation_level=isolation, request_timeout=10)
            return {place.partition: future.result().offset for place, future in found.items()}
        except KafkaException:
            return None  # a broker that comes back leads no partition for a moment

    known: dict[int, int] = until(look, 60, f"the broker tells the ends of {topic}")
    return known


def require_exactly_once(connection: Connection, topics: Topics) -> int:
    """Every request has one committed output with its audit record, or one dead letter, in order; nothing is open.

    Returns:
        The number of dead letters.
    """
    for topic in (topics.outputs, topics.audit, topics.dead_letters, topics.summaries):
        until(
            lambda topic=topic: ends(connection, topic) == ends(connection, topic, _READ_UNCOMMITTED),
            60,
            f"no transaction is open on {topic}",
        )
    requests = {
        (partition, offset) for partition, end in ends(connection, topics.requests).items() for offset in range(end)
    }
    outputs = list(_sources(connection, topics.outputs, "output"))
    audits = list(_sources(connection, topics.audit, "audit"))
    letters = [(_letter_source(message), message) for message in _read(connection, topics.dead_letters)]
    routed = [source for source, message in letters if dict(message.headers() or ())[_LETTER_STAGE] != b"decode"]
    answered = [source for source, _ in outputs] + [source for source, _ in letters]
    assert len(answered) == len(set(answered)), f"{len(answered) - len(set(answered))} requests are answered twice"
    missing = sorted(requests - set(answered))
    assert set(answered) == requests, f"{len(missing)} of {len(requests)} requests have no answer: {spans(missing)}"
    audited = sorted(source for source, _ in audits)
    assert audited == sorted([source for source, _ in outputs] + routed), "audit records and answers differ"
    for sources in (outputs, audits):
        order: dict[int, list[int]] = defaultdict(list)
        for (partition, offset), own in sources:
            assert own == partition, "an answer lies in another partition than its request"
            order[partition].append(offset)
        assert all(offsets == sorted(offsets) for offsets in order.values()), "answers are out of order"
    return len(letters)


def spans(places: Sequence[Place]) -> str:
    """Sorted places as `partition: first-last` of each unbroken stretch."""
    stretches: list[list[int]] = []
    for partition, offset in places:
        if stretches and stretches[-1][0] == partition and stretches[-1][2] == offset - 1:
            stretches[-1][2] = offset
        else:
            stretches.append([partition, offset, offset])
    return ", ".join(f"{partition}: {first}-{last}" for partition, first, last in stretches[:10])


def _sources(connection: Connection, topic: str, schema: str) -> Iterator[tuple[Place, int]]:
    """Which request each record is about, and the record's own partition."""
    parsed = fastavro.parse_schema(packaged(schema).definition, _force=True)
    for message in _read(connection, topic):
        body = io.BytesIO(message.value() or b"")
        assert body.read(_HEADER_BYTES) == packaged(schema).header
        record = fastavro.schemaless_reader(body, parsed, None)
        assert isinstance(record, dict)
        yield (record["source_partition"], record["source_offset"]), message.partition()


def _letter_source(message: Message) -> Place:
    headers = dict(message.headers() or ())
    return int(headers[_LETTER_PARTITION]), int(headers[_LETTER_OFFSET])


def _read(connection: Connection, topic: str) -> Iterator[Message]:
    """Every committed record of a topic."""
    consumer = connection.reader("test-proof")
    numbers = ends(connection, topic)
    consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
    open_ = set(numbers)
    deadline = time.monotonic() + _READ_SECONDS
    while open_:
        assert time.monotonic() < deadline, f"{topic} could not be read to its end: partitions {open_}"
        for message in consumer.consume(5000, 0.2):
            deadline = time.monotonic() + _READ_SECONDS
            error = message.error()
            if error is None:
                yield message
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                open_.discard(message.partition())
    consumer.close()
