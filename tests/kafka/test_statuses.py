"""Who reads the workers' statuses misses none, and tells what was there before from what arrives."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from streamsplit.core.status import Status
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.kafka.topics import Topics

pytestmark = pytest.mark.broker

OLDER = Status(
    slot="a",
    incarnation="older",
    started_ms=0,
    written_ms=0,
    version="0",
    revision=7,
    digest="d",
    phase="Progressing",
    ready=True,
    prepared=True,
)
NEWER = replace(OLDER, incarnation="newer", started_ms=1)


@pytest.fixture
def topics(connection: Connection, deployment: str) -> Topics:
    made = Topics(deployment)
    create_topics(connection, made, partitions=1)
    return made


@pytest.fixture
def reader(connection: Connection, topics: Topics) -> Iterator[StatusReader]:
    with closing(StatusReader(connection, topics.workers)) as made:
        yield made


def _write(connection: Connection, topics: Topics, *statuses: Status) -> None:
    # One batch on the wire, so that they arrive together.
    producer = connection.producer("test", linger_ms=100)
    for status in statuses:
        producer.produce(topics.workers, json.dumps(status.to_dict()).encode(), status.slot)
    assert producer.flush(60) == 0


def _arriving(reader: StatusReader) -> list[Status]:
    for _ in range(200):
        if arrived := reader.poll():
            return arrived
    raise AssertionError("nothing arrived")


def test_two_processes_with_one_slot_are_both_seen_though_their_statuses_arrive_together(
    connection: Connection, topics: Topics, reader: StatusReader
) -> None:
    reader.read_to_end()
    _write(connection, topics, OLDER, NEWER)
    seen = _arriving(reader)
    while len(seen) < 2:
        seen += _arriving(reader)
    assert [status.incarnation for status in seen] == ["older", "newer"]
    assert reader.alive() == {"a": NEWER}


def test_a_status_that_was_there_before_is_nobody_alive(
    connection: Connection, topics: Topics, reader: StatusReader
) -> None:
    _write(connection, topics, OLDER)
    reader.read_to_end()
    assert reader.alive() == {}
    _write(connection, topics, NEWER)
    assert _arriving(reader) == [NEWER]
    assert reader.alive() == {"a": NEWER}
    _write(connection, topics, replace(NEWER, stopping=True))
    _arriving(reader)
    assert reader.alive() == {}
