"""Stretches of a topic, read committed and completely."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined] # its documented place

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection

_CHUNK = 5_000
_POLL_SECONDS = 0.2
_STALL_SECONDS = 30.0
"""Longer than any transaction may stay open."""

_ASK_SECONDS = 10.0
_ENDS = (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call] # the library ships no types
_PASSING = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT}  # noqa: SLF001 # library's names


@dataclass(frozen=True, slots=True)
class Extent:
    """What one partition holds.

    Attributes:
        start: First offset that is kept.
        end: Behind the last record written, decided or not; or behind the last one decided.
    """

    start: int
    end: int


def extents(connection: Connection, topic: str, *, decided: bool = False) -> dict[int, Extent]:
    """What each partition of a topic holds now.

    Args:
        connection: The way to the broker.
        topic: Name of the topic.
        decided: End before the first transaction that is still open, so that reading never waits for it.

    Raises:
        ServiceError: The topic is not there or cannot be asked.
    """
    admin = connection.admin()
    try:
        described = admin.list_topics(topic, timeout=_ASK_SECONDS).topics[topic]
        if described.error is not None or not described.partitions:
            raise ServiceError(f"the topic {topic} is not there; make it with `streamsplit topics create`")
        partitions = [TopicPartition(topic, number) for number in described.partitions]
        # Undecided transactions count, unless told: what is committed now may be followed by one that is.
        isolation = IsolationLevel.READ_COMMITTED if decided else IsolationLevel.READ_UNCOMMITTED
        first, last = (
            admin.list_offsets(dict.fromkeys(partitions, spec), isolation_level=isolation, request_timeout=10)
            for spec in _ENDS
        )
        return {
            partition.partition: Extent(first[partition].result().offset, last[partition].result().offset)
            for partition in partitions
        }
    except KafkaException as error:
        raise ServiceError(f"the topic {topic} cannot be asked: {error.args[0].str()}") from error


def committed_offsets(connection: Connection, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The decided offsets of a group: partition → next offset to read; without those that have none.

    Raises:
        ServiceError: A transaction holds an offset back for too long, or the group cannot be asked.
    """
    consumer: Consumer = connection.reader("streamsplit-offsets", group_id=group)
    wanted = [TopicPartition(topic, partition) for partition in partitions]
    deadline = time.monotonic() + _STALL_SECONDS
    try:
        while True:
            try:
                answers = consumer.committed(wanted, timeout=_ASK_SECONDS)
            except KafkaException as error:
                # An undecided transaction answers with a time-out: it means "not yet".
                if time.monotonic() > deadline or not _passing(error.args[0]):
                    raise ServiceError(f"the offsets of {group} cannot be read: {error.args[0].str()}") from error
                continue
            return {answer.partition: answer.offset for answer in answers if answer.offset > OFFSET_INVALID}
    finally:
        consumer.close()


def read_range(connection: Connection, topic: str, ranges: Mapping[int, Extent]) -> Iterator[list[Message]]:
    """The committed records of these stretches, in chunks; in order within a partition.

    Raises:
        ServiceError: The records cannot be read, or an open transaction holds them back for too long.
    """
    waiting = {partition: extent for partition, extent in ranges.items() if extent.start < extent.end}
    consumer: Consumer = connection.reader("streamsplit-verify")
    consumer.assign([TopicPartition(topic, partition, extent.start) for partition, extent in waiting.items()])
    heard = time.monotonic()
    try:
        while waiting:
            messages = consumer.consume(_CHUNK, _POLL_SECONDS)
            records = [message for message in messages if _wanted(consumer, message, waiting)]
            if records:
                heard = time.monotonic()
                yield records
            elif time.monotonic() > heard + _STALL_SECONDS:
                raise ServiceError(
                    f"{topic}: partitions {', '.join(map(str, sorted(waiting)))} cannot be read to their end: "
                    "a transaction stays open, or the broker does not answer"
                )
    finally:
        consumer.close()


def _wanted(consumer: Consumer, message: Message, waiting: dict[int, Extent]) -> bool:
    """Whether a message is a record of a stretch; notes where a stretch ends."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 # the library's own name
        if _passing(error):
            return False
        # An error of the client as a whole names no topic.
        where = f"{message.topic()}: partition {message.partition()}" if message.topic() else "the topics"
        raise ServiceError(f"{where} cannot be read: {error.str()}")
    topic, partition, offset = place_of(message)
    extent = waiting.get(partition)
    if extent is None:
        return False
    # The last offsets may be markers of transactions, which are never delivered: then the end of the partition tells.
    if offset + (error is None) >= extent.end:
        del waiting[partition]
        consumer.pause([TopicPartition(topic, partition)])
    return error is None and offset < extent.end


def _passing(error: KafkaError) -> bool:
    return error.retriable() or error.code() in _PASSING


def place_of(message: Message) -> tuple[str, int, int]:
    """Topic, partition and offset of a message; consumed ones always have them."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return topic, partition, offset
