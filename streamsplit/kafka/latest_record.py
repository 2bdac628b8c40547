"""The last committed record of a key in a topic of one partition, found from the topic's end."""

from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka.admin import AdminClient

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.deadline import Deadline
from streamsplit.kafka.reading_back import Ends, ends_of, read_stretch, stretches


@dataclass(frozen=True, slots=True)
class LatestRecord:
    """What was found.

    Attributes:
        value: Of the last committed record of the key; None where there is none, or the last is a tombstone.
        undecided: Whether a transaction behind it is not decided yet, which may change the answer.
    """

    value: bytes | None
    undecided: bool


def latest_record(
    connection: Connection, admin: AdminClient, topic: str, key: bytes, seconds: float = 5.0
) -> LatestRecord:
    """Find the last record of a key.

    Read from the end in stretches that grow: a compacted topic that is written several times a second holds many old
    states of the same key.

    Args:
        connection: The brokers.
        admin: A client that asks where the topic ends.
        topic: The topic; its partition 0 is read.
        key: The key.
        seconds: Longest time for all of it.

    Raises:
        ServiceError: The topic could not be read in time, or is not there.
    """
    deadline = Deadline(seconds)
    try:
        ends = ends_of(admin, topic)
        consumer = connection.reader("streamsplit-latest-record")
        try:
            found = _last_of(consumer, topic, ends, key, deadline)
        finally:
            consumer.close()
    except KafkaException as error:
        raise ServiceError(f"the topic {topic} cannot be read: {error.args[0].str()}") from error
    return LatestRecord(None if found is None else found.value(), undecided=ends.stable < ends.end)


def _last_of(consumer: Consumer, topic: str, ends: Ends, key: bytes, deadline: Deadline) -> Message | None:
    for stretch in stretches(ends.start, ends.stable):
        found = None
        for _, message in read_stretch(consumer, topic, stretch, deadline):
            found = message if message.key() == key else found
        if found is not None:
            return found
    return None
