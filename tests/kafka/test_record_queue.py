"""Records come from the client and go to it as they are, whatever they hold."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # its documented place

from streamsplit.core.headers import Headers, unpacked
from streamsplit.core.records import RawBatch
from streamsplit.kafka.assignment import Assignment
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.deadline import Deadline
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.kafka.positions import Gate, Positions
from streamsplit.kafka.record_queue import RecordQueue, with_handle
from streamsplit.kafka.record_writer import RecordWriter

pytestmark = pytest.mark.broker

ROOM = 50
SECONDS = 30.0

VALUES = [b"value", b"", None, b"\0\xff" * 2000, b"v"]
KEYS = [b"key", None, b"", b"\xff" * 300, b"k"]
HEADERS: list[Headers | None] = [
    None,
    [("trace", b"\xff\0"), ("trace", None), ("empty", b"")],
    [("é", b"x")],
    None,
    [("none", None)],
]


@dataclass
class Assigned:
    """A consumer of both partitions of a topic, and the queue of its records."""

    consumer: Consumer
    queue: RecordQueue
    topic: str

    def taken(self, count: int) -> None:
        """Take until so many records are held."""
        deadline = Deadline(SECONDS)
        while len(self.queue) < count:
            self.consumer.poll(0)
            self.queue.take(count - len(self.queue), 0.1)
            assert not deadline.passed


def made(connection: Connection, deployment: str) -> Assigned:
    """A consumer that has no partitions yet, of a topic of two."""
    topic = f"{deployment}.requests"
    admin = connection.admin()
    admin.create_topics([NewTopic(topic, num_partitions=2)])[topic].result()
    options = LaneOptions(topic=topic, group=f"{deployment}.group", slot="a", static=False)
    consumer, handle = with_handle(Consumer, {**connection.client_config(), **options.consumer_config()})
    return Assigned(consumer, RecordQueue(handle, topic, ROOM), topic)


@pytest.fixture
def assigned(connection: Connection, deployment: str) -> Iterator[Assigned]:
    one = made(connection, deployment)
    one.queue.follow([0, 1])
    one.consumer.assign([TopicPartition(one.topic, number, 0) for number in range(2)])
    yield one
    one.queue.close()
    one.consumer.close()


def write(connection: Connection, outgoing: Outgoing) -> None:
    writer = RecordWriter(connection.client_config("test", linger_ms=0, enable_idempotence=True))
    writer.write(outgoing, Deadline(SECONDS))
    assert writer.producer.flush(SECONDS) == 0
    writer.throw_away()


def columns(batch: RawBatch) -> list[tuple[object, ...]]:
    headers = [unpacked(each) for each in batch.headers]
    return list(zip(batch.values, batch.keys, headers, batch.offsets.tolist(), strict=True))


@pytest.mark.parametrize("headers", [None, HEADERS], ids=["plain", "with headers"])
def test_records_that_are_written_and_read_are_the_same(
    connection: Connection, assigned: Assigned, headers: list[Headers | None] | None
) -> None:
    write(connection, Outgoing.of(assigned.topic, VALUES, KEYS, [1] * len(VALUES), headers))
    assigned.taken(len(VALUES))
    batch = assigned.queue.batch(7, len(VALUES))
    lists = [list(each or ()) for each in headers or [None] * len(VALUES)]
    assert columns(batch) == list(zip(VALUES, KEYS, lists, range(len(VALUES)), strict=True))
    assert (batch.epoch, batch.partitions.tolist()) == (7, [1] * len(VALUES))
    assert (batch.timestamps > 0).all()
    assert len(assigned.queue) == 0


def test_a_batch_takes_the_oldest_records_and_leaves_the_others(connection: Connection, assigned: Assigned) -> None:
    values: list[bytes | None] = [b"x" * (number + 1) for number in range(10)]
    write(connection, Outgoing.of(assigned.topic, values))
    assigned.taken(10)
    assert assigned.queue.held_bytes == 55
    assert [assigned.queue.fitting(most) for most in (0, 1, 3, 6, 7, 1000)] == [1, 1, 2, 3, 3, 10]
    assert assigned.queue.batch(0, 4).values == values[:4]
    assert assigned.queue.batch(0, 5).values == values[4:9]
    assert (len(assigned.queue), assigned.queue.held_bytes) == (1, 10)


def test_records_that_are_not_wanted_are_gone_and_no_other(connection: Connection, assigned: Assigned) -> None:
    values: list[bytes | None] = [b"%d" % number for number in range(10)]
    write(connection, Outgoing.of(assigned.topic, values))
    assigned.taken(4)
    taken = assigned.queue.take(6, SECONDS)
    assert taken.offsets.tolist() == [4, 5, 6, 7, 8, 9]
    assigned.queue.keep(np.array([True, False, True, False, False, True]))
    assert assigned.queue.batch(0, 7).values == [*values[:4], b"4", b"6", b"9"]


def test_no_more_is_taken_than_there_is_room_for(connection: Connection, assigned: Assigned) -> None:
    write(connection, Outgoing.of(assigned.topic, [b"x"] * (ROOM + 5)))
    assigned.taken(ROOM)
    assert assigned.queue.take(10, 0.0).offsets.tolist() == []
    assert assigned.queue.batch(0, ROOM).offsets.tolist() == list(range(ROOM))
    assigned.taken(5)
    assert assigned.queue.batch(0, 5).offsets.tolist() == list(range(ROOM, ROOM + 5))


def test_the_end_of_a_partition_is_told_beside_its_records(connection: Connection, assigned: Assigned) -> None:
    write(connection, Outgoing.of(assigned.topic, [b"x"] * 3))
    ends: dict[int, int] = {}
    deadline = Deadline(SECONDS)
    while ends != {0: 3, 1: 0}:
        for failure in assigned.queue.take(10, 0.1).failures:
            assert failure.error.code() == KafkaError._PARTITION_EOF
            assert failure.error.str()
            ends[failure.partition] = failure.offset
        assert not deadline.passed, ends
    assert assigned.queue.batch(0, 3).offsets.tolist() == [0, 1, 2]


def test_a_queue_that_is_closed_before_its_consumer_takes_no_more_assignments(
    connection: Connection, deployment: str
) -> None:
    """The group may assign while a consumer closes."""
    one = made(connection, deployment)
    one.queue.follow([0])
    one.queue.close()
    one.queue.follow([0, 1])
    one.consumer.assign([TopicPartition(one.topic, number, 0) for number in range(2)])
    one.consumer.close()


def test_a_partition_that_is_given_up_and_taken_again_at_once_is_read(
    connection: Connection, assigned: Assigned
) -> None:
    write(connection, Outgoing.of(assigned.topic, [b"x"]))
    assigned.taken(1)
    positions = Positions(assigned.consumer, assigned.topic, (), "earliest", lambda: Gate(0, {}))
    assignment = Assignment(assigned.consumer, assigned.topic, positions, assigned.queue)
    for _ in range(100):
        assigned.queue.clear()
        assigned.consumer.incremental_unassign([TopicPartition(assigned.topic, 0)])
        assignment._assign([TopicPartition(assigned.topic, 0, 0)])
        assigned.taken(1)
