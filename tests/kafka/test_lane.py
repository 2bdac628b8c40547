"""When the lane closes a batch, and that it commits each one once and in order."""

import queue
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import NewTopic

from streamsplit.core.records import RawBatch
from streamsplit.kafka.batches import next_of
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.lane import DEPTH, Lane
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.kafka.positions import Gate, Positions
from streamsplit.kafka.transaction import Fenced, Transaction
from streamsplit.offline.ranges import committed_offsets

pytestmark = pytest.mark.broker

FULL = 100
FULL_BYTES = 20_000
SECONDS = 60.0


class Driven:
    """A lane whose batches a test takes and commits by hand."""

    def __init__(
        self, connection: Connection, name: str, *, static: bool = False, like: "Driven | None" = None
    ) -> None:
        self.connection, self.topic, self.outputs = connection, f"{name}.requests", f"{name}.outputs"
        self.group = f"{name}.group"
        admin = connection.admin()
        wanted = () if like else (self.topic, self.outputs)
        for future in admin.create_topics([NewTopic(each, 1) for each in wanted]).values() if wanted else ():
            future.result()
        self.batches: queue.Queue[RawBatch] = queue.Queue()
        self.failures: list[Exception] = []
        self.lane = Lane(
            connection,
            LaneOptions(self.topic, self.group, "a", static=static, batch_records=FULL, batch_bytes=FULL_BYTES),
            transaction=Transaction(connection, f"{name}.{'b' if like else 'a'}", 8.0),
            positions=lambda consumer: Positions(consumer, self.topic, (), "earliest", lambda: Gate(1, {})),
            deliver=self.batches.put,
            failed=self.failures.append,
        )
        self._producer = connection.producer("test")
        assert self.lane.restore()
        self.lane.start()

    def send(self, count: int, length: int = 1) -> None:
        for _ in range(count):
            self._producer.produce(self.topic, b"x" * length, partition=0)
        assert self._producer.flush(SECONDS) == 0

    def batch(self) -> RawBatch:
        return self.batches.get(timeout=SECONDS)

    def commit(self, batch: RawBatch) -> bool:
        values = [b"y"] * len(batch)
        outgoing = Outgoing.of(self.outputs, values, batch.keys, batch.partitions.tolist())
        try:
            return self.lane.commit(batch.epoch, [outgoing], next_of(batch), 0)
        finally:
            self.lane.done()

    def until_lag(self, records: int) -> None:
        """Return when so many records are known to wait behind what is committed."""
        deadline = time.monotonic() + SECONDS
        while self.lane.progress().lag.get(0) != records:
            assert time.monotonic() < deadline, self.lane.progress()
            time.sleep(0.01)


@pytest.fixture
def driven(connection: Connection, deployment: str) -> Iterator[Driven]:
    made = Driven(connection, deployment)
    yield made
    made.lane.stop(1.0)
    assert made.failures == []


@pytest.fixture
def committed(driven: Driven) -> Callable[[], int]:
    return lambda: committed_offsets(driven.connection, driven.group, driven.topic, [0]).get(0, -1)


def test_what_comes_while_a_batch_is_under_way_is_one_batch_behind_it(driven: Driven) -> None:
    driven.send(1)
    first = driven.batch()
    assert len(first) == 1
    for _ in range(20):
        driven.send(3)
    driven.until_lag(61)
    assert driven.batches.empty()
    assert driven.commit(first)
    second = driven.batch()
    assert second.offsets.tolist() == list(range(1, 61))
    assert driven.commit(second)


def test_full_batches_are_delivered_though_others_are_under_way(driven: Driven, committed: Callable[[], int]) -> None:
    driven.send(FULL * (DEPTH + 1))
    under_way = [driven.batch() for _ in range(DEPTH)]
    assert sum(map(len, under_way)) <= FULL * DEPTH
    assert driven.batches.empty()
    for batch in under_way:
        assert driven.commit(batch)
    done = sum(map(len, under_way))
    while done < FULL * (DEPTH + 1):
        batch = driven.batch()
        assert batch.offsets[0] == done
        assert driven.commit(batch)
        done += len(batch)
    assert committed() == done


def test_a_batch_that_skips_one_is_not_committed_and_both_come_again(
    driven: Driven, committed: Callable[[], int]
) -> None:
    driven.send(FULL * 2)
    first, second = driven.batch(), driven.batch()
    assert not driven.commit(second)
    assert not driven.commit(first)
    seen = 0
    while seen < FULL * 2:
        batch = driven.batch()
        if batch.epoch != driven.lane.epoch:
            driven.lane.done()
            continue
        assert batch.offsets[0] == seen
        assert driven.commit(batch)
        seen += len(batch)
    assert committed() == FULL * 2


def test_a_batch_held_back_is_full_by_its_bytes_too(driven: Driven) -> None:
    driven.send(1)
    first = driven.batch()
    driven.send(FULL // 2, 3000)
    second = driven.batch()  # it is full, and does not wait for the first
    assert driven.commit(first)
    done = 1
    batch = second
    while True:
        assert batch.offsets[0] == done
        assert sum(len(value or b"") for value in batch.values) <= FULL_BYTES
        assert driven.commit(batch)
        done += len(batch)
        if done == 1 + FULL // 2:
            return
        batch = driven.batch()


def test_a_consumer_whose_slot_another_process_takes_ends_its_lane(connection: Connection, deployment: str) -> None:
    first, second = Driven(connection, deployment, static=True), None
    try:
        first.send(1)
        assert first.commit(first.batch())
        second = Driven(connection, deployment, static=True, like=first)
        second.send(1)
        deadline = time.monotonic() + SECONDS
        while not first.failures:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert isinstance(first.failures[0], Fenced)
        assert second.batch().offsets.tolist() == [1]
    finally:
        for each in filter(None, (first, second)):
            each.lane.stop(1.0)
