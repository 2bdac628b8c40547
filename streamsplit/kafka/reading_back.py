"""A topic of one partition, read from its end back in stretches that grow.

What is looked for is mostly near the end; markers of transactions and removed records are offsets, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # its documented place

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.deadline import Deadline

_FIRST = 64
_LONGEST = 1 << 16
_CHUNK = 64
_ASK_SECONDS = 2.0
_POLL_SECONDS = 0.2
_PASSING = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT}  # noqa: SLF001 # library's names


@dataclass(frozen=True, slots=True)
class Ends:
    """What a partition holds.

    Attributes:
        start: First offset.
        stable: Behind the last offset that is decided.
        end: Behind the last offset that is written.
    """

    start: int
    stable: int
    end: int


def ends_of(admin: AdminClient, topic: str) -> Ends:
    """Where partition 0 of a topic begins and ends now.

    Raises:
        KafkaException: The brokers do not say.
    """
    partition = TopicPartition(topic, 0)
    asked = [
        admin.list_offsets({partition: spec}, isolation_level=level, request_timeout=_ASK_SECONDS)[partition]
        for spec, level in (
            (OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED),  # type: ignore[no-untyped-call] # no types
            (OffsetSpec.latest(), IsolationLevel.READ_COMMITTED),  # type: ignore[no-untyped-call] # as above
            (OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED),  # type: ignore[no-untyped-call] # as above
        )
    ]
    return Ends(*(int(future.result().offset) for future in asked))


def stretches(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The offsets from `start` to `end` in stretches, the last first; no stretch's end is part of it."""
    length = _FIRST
    while end > start:
        begin = max(start, end - length)
        yield begin, end
        end, length = begin, min(_LONGEST, 4 * length)


def read_stretch(
    consumer: Consumer, topic: str, stretch: tuple[int, int], deadline: Deadline
) -> Iterator[tuple[int, Message]]:
    """The committed records of a stretch of partition 0 with their offsets, in order; waits for what is undecided.

    Raises:
        ServiceError: It could not be read in time.
        KafkaException: It cannot be read.
    """
    start, end = TopicPartition(topic, 0, stretch[0]), stretch[1]
    consumer.assign([start])
    while not deadline.passed:
        for message in consumer.consume(_CHUNK, _POLL_SECONDS):
            error, offset = message.error(), message.offset()
            if error is None and offset is not None and offset < end:
                yield offset, message
            elif error is None:
                return
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 # librdkafka's own codes begin with _
                if offset is not None and offset >= end:
                    return
            elif not error.retriable() and error.code() not in _PASSING:
                raise KafkaException(error)
        if consumer.position([start])[0].offset >= end:
            return
    raise ServiceError(f"the topic {topic} could not be read in time")
