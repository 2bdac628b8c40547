"""Every record of a transaction is written, in order, or none is."""

import pytest
from confluent_kafka.admin import NewTopic

from streamsplit.core.headers import Headers
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.deadline import Deadline
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.kafka.record_writer import RecordWriter
from streamsplit.kafka.transaction import Transaction, TransactionAborted
from streamsplit.offline.ranges import extents, read_range

pytestmark = pytest.mark.broker

COUNT = 500
HEADERS: list[Headers | None] = [None if at % 2 else [("trace", b"%d" % at), ("x", None)] for at in range(COUNT)]


@pytest.fixture
def topic(connection: Connection, deployment: str) -> str:
    name = f"{deployment}.outputs"
    admin = connection.admin()  # it lives until its answer is here
    admin.create_topics([NewTopic(name, 2)])[name].result()
    return name


def records(topic: str, headers: list[Headers | None] | None = None) -> Outgoing:
    values = [f"{number}".encode() for number in range(COUNT)]
    keys = [None if number % 3 == 0 else value for number, value in enumerate(values)]
    return Outgoing.of(topic, values, keys, [number % 2 for number in range(COUNT)], headers)


def written(connection: Connection, topic: str) -> list[tuple[object, ...]]:
    """Value, key, partition and headers of all committed records, in the order of each partition."""
    chunks = read_range(connection, topic, extents(connection, topic))
    found = [(each.value(), each.key(), each.partition(), each.headers()) for chunk in chunks for each in chunk]
    return sorted(found, key=lambda each: each[2] or 0)


@pytest.mark.parametrize("headers", [None, HEADERS], ids=["plain", "with headers"])
def test_records_that_find_no_room_are_written_once_and_in_order(
    connection: Connection, topic: str, headers: list[Headers | None] | None
) -> None:
    settings = {"queue_buffering_max_messages": 7, "linger_ms": 0, "enable_idempotence": True}
    writer = RecordWriter(connection.client_config("test", **settings))
    outgoing = records(topic, headers)
    writer.write(outgoing, Deadline(30.0))
    assert writer.producer.flush(30.0) == 0
    writer.throw_away()
    columns = zip(outgoing.values, outgoing.keys, outgoing.partitions.tolist(), headers or [None] * COUNT, strict=True)
    assert written(connection, topic) == sorted(columns, key=lambda each: each[2])


def test_a_transaction_that_ran_into_an_error_leaves_nothing_and_the_next_one_works(
    connection: Connection, topic: str
) -> None:
    transaction = Transaction(connection, f"{topic}.a", 8.0)
    transaction.restore()
    with pytest.raises(TransactionAborted):
        transaction.commit([records(topic), Outgoing.of(topic, [b"501"], [None], [99])], [], None)
    assert not transaction.open
    transaction.restore()
    transaction.commit([Outgoing.of(topic, [b"600"], [None], [1])], [], None)
    transaction.close()
    assert written(connection, topic) == [(b"600", None, 1, None)]
