"""A partition is read from where it begins, whatever its client did before."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # its documented place

from streamsplit.kafka.assignment import Assignment
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.positions import Gate, Positions
from streamsplit.kafka.record_queue import RecordQueue, with_handle

pytestmark = pytest.mark.broker

RECORDS, REMOVED = 20, 8


@dataclass
class Member:
    """A joined consumer of one partition whose first records retention has removed."""

    consumer: Consumer
    queue: RecordQueue
    topic: str
    assignment: Assignment = field(init=False)

    def __post_init__(self) -> None:
        gate = Gate(100, {0: REMOVED})
        positions = Positions(self.consumer, self.topic, (), "earliest", lambda: gate)
        self.assignment = Assignment(self.consumer, self.topic, positions, self.queue)
        self.consumer.subscribe([self.topic], on_assign=lambda _, given: self._assigned(given))
        self.errors: list[int] = []

    def _assigned(self, given: list[TopicPartition]) -> None:
        self.assignment.add([each.partition for each in given])
        self.consumer.resume(given)  # what may slip in before the pause does slip in

    def poll(self) -> list[int]:
        """Offsets of the records that arrive now; errors are kept."""
        assert all(each.error() is not None for each in self.consumer.consume(100, timeout=0))
        taken = self.queue.take(100, 0.1)
        self.errors += [each.error.code() for each in taken.failures]
        accepted = self.assignment.accept(taken)
        self.queue.clear()
        return taken.offsets[accepted].tolist()


@pytest.fixture
def member(connection: Connection, deployment: str) -> Iterator[Member]:
    topic = f"{deployment}.requests"
    admin = connection.admin()
    admin.create_topics([NewTopic(topic, num_partitions=1)])[topic].result()
    producer = connection.producer("test")
    for _ in range(RECORDS):
        producer.produce(topic, b"x", partition=0)
    assert producer.flush(30) == 0
    for future in admin.delete_records([TopicPartition(topic, 0, REMOVED)]).values():
        future.result()
    options = LaneOptions(topic=topic, group=f"{deployment}.group", slot="a", static=False)
    consumer, handle = with_handle(Consumer, {**connection.client_config(), **options.consumer_config()})
    queue = RecordQueue(handle, topic, 100)
    yield Member(consumer, queue, topic)
    queue.close()
    consumer.close()


def test_a_fetch_from_a_place_that_retention_removed_stops_a_partition_for_a_moment_alone(member: Member) -> None:
    deadline = time.monotonic() + 60
    while not {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE} & set(member.errors):
        assert member.poll() == []
        assert time.monotonic() < deadline, member.errors
    member.assignment.start_over()
    seen: list[int] = []
    while len(seen) < RECORDS - REMOVED:
        member.assignment.begin_waiting()
        seen += member.poll()
        assert time.monotonic() < deadline, (seen, member.assignment.waiting())
    assert seen == list(range(REMOVED, RECORDS))
