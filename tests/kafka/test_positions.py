"""Where partitions begin: start of a group, new partitions, retention, partners, revisions."""

import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic  # type: ignore[attr-defined] # their documented place

from streamsplit.core.errors import UsageError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.positions import Begin, Gate, Positions, Wait, next_offsets, start_time

pytestmark = pytest.mark.broker

PARTITIONS, RECORDS = 3, 10
OPEN = Gate(folded_to=100, accepted_losses={})
Find = Callable[..., Begin | Wait]


class Topic:
    """A topic with ten records in each partition, a second apart from 2020-01-01 on, and its partner."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection, self.name, self.partner = connection, f"{name}.requests", f"{name}.outputs"
        self.admin = connection.admin()
        for word in (self.name, self.partner):
            self.admin.create_topics([NewTopic(word, num_partitions=PARTITIONS)])[word].result()
        producer = connection.producer("test")
        for number in range(PARTITIONS * RECORDS):
            moment = 1_577_836_800_000 + 1000 * (number // PARTITIONS)
            producer.produce(self.name, b"x", partition=number % PARTITIONS, timestamp=moment)
        assert producer.flush(30) == 0
        config = connection.reader_config("test", group_id=f"{name}.group", topic_metadata_refresh_interval_ms=200)
        self.consumer = Consumer(config)

    def find(self, partition: int, start: str = "earliest", gate: Gate = OPEN) -> Begin | Wait:
        """Where it begins."""
        return Positions(self.consumer, self.name, (self.partner,), start, lambda: gate).find(partition)

    def until_coordinated(self) -> None:
        """Return when the brokers answer for the group: one that has just started may not know yet whose it is."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self.consumer.committed([TopicPartition(self.name, 0)], timeout=10)
            except KafkaException:
                assert time.monotonic() < deadline
            else:
                return

    def commit(self, offset: int, partition: int = 0, revision: int = 5) -> None:
        """As a lane does."""
        self.consumer.commit(offsets=next_offsets(self.name, {partition: offset}, revision), asynchronous=False)

    def delete_below(self, offset: int, partition: int = 0) -> None:
        """As retention does."""
        for future in self.admin.delete_records([TopicPartition(self.name, partition, offset)]).values():
            future.result()

    def grow(self, name: str, partitions: int) -> None:
        """Add partitions, and wait until the consumer sees them."""
        self.admin.create_partitions([NewPartitions(name, partitions)])[name].result()
        deadline = time.monotonic() + 60
        while len(self.consumer.list_topics(name, timeout=30).topics[name].partitions) < partitions:
            assert time.monotonic() < deadline


@pytest.fixture
def topic(connection: Connection, deployment: str) -> Iterator[Topic]:
    made = Topic(connection, deployment)
    made.until_coordinated()
    yield made
    made.consumer.close()


@pytest.mark.parametrize(
    ("start", "offset"),
    [
        ("earliest", 0),
        ("latest", RECORDS),
        ("2020-01-01T00:00:04Z", 4),
        ("2020-01-01T01:00:03.500+01:00", 4),
        ("2019-01-01", 0),
        ("2031-01-01", RECORDS),
    ],
)
def test_a_new_group_starts_where_the_setting_says_on_every_partition_and_once(
    topic: Topic, start: str, offset: int
) -> None:
    assert isinstance(topic.find(1, start), Wait), "the worker with partition 0 decides for all"
    assert topic.find(0, start) == Begin(offset)
    for other in ("earliest", "latest"):
        assert [topic.find(partition, other) for partition in range(PARTITIONS)] == [Begin(offset)] * PARTITIONS


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("latest", None),
        ("earliest", None),
        ("2020-01-01T00:00:00Z", 1_577_836_800_000),
        ("2020-01-01", 1_577_836_800_000),
        ("2020-01-01T02:00:00+02:00", 1_577_836_800_000),
    ],
)
def test_a_start_time_without_a_zone_is_utc(text: str, milliseconds: int | None) -> None:
    assert start_time(text) == milliseconds


@pytest.mark.parametrize("text", ["", "yesterday", "now", "1577836800", "Latest"])
def test_another_start_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(UsageError, match="expected latest, earliest or a time such as"):
        start_time(text)


def test_a_partition_added_to_a_known_group_starts_at_0_also_with_latest(topic: Topic) -> None:
    topic.commit(7, partition=0)
    producer = topic.connection.producer("test")
    topic.grow(topic.name, PARTITIONS + 1)
    topic.grow(topic.partner, PARTITIONS + 1)
    producer.produce(topic.name, b"first", partition=PARTITIONS)
    assert producer.flush(30) == 0
    assert topic.find(PARTITIONS, "latest") == Begin(0)


def test_a_partition_without_a_partner_waits_with_the_command_that_mends_it(topic: Topic) -> None:
    topic.commit(7, partition=0)
    topic.grow(topic.name, PARTITIONS + 2)
    found = topic.find(PARTITIONS + 1)
    assert isinstance(found, Wait)
    assert found.alarm
    assert f"`kafka-topics.sh --alter --topic {topic.partner} --partitions {PARTITIONS + 2}`" in found.reason
    assert topic.find(0) == Begin(7, revision=5)
    topic.grow(topic.partner, PARTITIONS + 2)
    assert topic.find(PARTITIONS + 1) == Begin(0)


def test_a_partition_waits_until_the_fold_has_reached_the_revision_it_was_served_under(topic: Topic) -> None:
    topic.commit(3, revision=41)
    behind = topic.find(0, gate=Gate(folded_to=41, accepted_losses={}))
    assert isinstance(behind, Wait)
    assert "revision 41" in behind.reason
    assert not behind.alarm
    assert topic.find(0, gate=Gate(folded_to=42, accepted_losses={})) == Begin(3, revision=41)


def test_an_operators_reset_leaves_no_revision_and_is_followed(topic: Topic) -> None:
    topic.consumer.commit(offsets=[TopicPartition(topic.name, 0, 2)], asynchronous=False)
    assert topic.find(0, gate=Gate(folded_to=0, accepted_losses={})) == Begin(2)


def test_a_range_that_retention_removed_waits_until_all_of_it_is_accepted(topic: Topic) -> None:
    topic.commit(3)
    topic.delete_below(6)
    found = topic.find(0)
    assert isinstance(found, Wait)
    assert found.alarm
    assert "partition 0: requests 3 to 5 were removed" in found.reason
    assert "streamsplit accept-loss 0 --to 6" in found.reason
    assert topic.find(0, gate=Gate(100, {1: 9})) == found, "another partition's acceptance"
    assert topic.find(0, gate=Gate(100, {0: 6})) == Begin(6, lost=(3, 6), revision=5)
    topic.delete_below(8)
    again = topic.find(0, gate=Gate(100, {0: 6}))
    assert isinstance(again, Wait), "what was removed since has not been accepted"
    assert "accept-loss 0 --to 8" in again.reason
    assert topic.find(0, gate=Gate(100, {0: 9})) == Begin(8, lost=(3, 8), revision=5)


def test_an_offset_beyond_the_end_is_an_alarm_and_not_a_start(topic: Topic) -> None:
    topic.commit(RECORDS + 1)
    found = topic.find(0)
    assert isinstance(found, Wait)
    assert found.alarm
    assert "created again" in found.reason
    topic.commit(RECORDS)
    assert topic.find(0) == Begin(RECORDS, revision=5)
