"""The limit: consume, write as many bytes a request as a worker does, commit; no work at all in between.

    python -m benchmarks.pass_through '{"brokers": "127.0.0.1:9092", ...}'

It reads in batches and writes in transactions with the lane's own settings of librdkafka, to explicit partitions, with
the requests' keys. It goes on until it is stopped.
"""

import gc
import json
import signal
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat, starmap
from typing import Any

from confluent_kafka import Consumer, Message, Producer

from streamsplit.kafka.clients import Connection
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.transaction import LARGEST_BATCH

_TIMEOUT = 10.0
_IDLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Pass:
    """What to pass on.

    Attributes:
        brokers: Bootstrap servers.
        source: Topic of requests.
        targets: Consumer group; and topics beginning so: `outputs`, `audit` and `summaries` are appended.
        batch: Most records in a transaction.
        output_bytes: Length of an output value.
        audit_bytes: Length of an audit value.
        summary_bytes: Length of the summary, one a transaction.
        fill_seconds: Longest wait for more records after the first.
        headers: Whether the requests' headers go on to the outputs.
        tight: Whether to spend no step of the interpreter on a record, and none on garbage.
    """

    brokers: str
    source: str
    targets: str
    batch: int
    output_bytes: int
    audit_bytes: int
    summary_bytes: int
    fill_seconds: float
    headers: bool = False
    tight: bool = False

    def text(self) -> str:
        """As the command line wants it."""
        return json.dumps(asdict(self))


def producer_config(connection: Connection, transactional_id: str) -> dict[str, Any]:
    """The settings of the lane's transactional producer."""
    return {
        **connection.client_config(),
        "transactional.id": transactional_id,
        "transaction.timeout.ms": 8000,
        "linger.ms": 5,
        "retry.backoff.ms": 2,
        "retry.backoff.max.ms": 200,
        "batch.num.messages": 10_000,
        "batch.size": LARGEST_BATCH,
        "message.max.bytes": 1_000_000_000,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1_048_576,
    }


def consumer_config(connection: Connection, plan: Pass) -> dict[str, Any]:
    """The settings of the lane's consumer, from the beginning."""
    options = LaneOptions(plan.source, plan.targets, "pass", static=False, batch_records=plan.batch)
    return {**connection.client_config(), **options.consumer_config(), "auto.offset.reset": "earliest"}


def run(plan: Pass) -> None:
    """Pass on until stopped."""
    if plan.tight:
        gc.disable()  # nothing here refers to itself
    connection = Connection(plan.brokers)
    consumer = Consumer(consumer_config(connection, plan))
    producer = Producer(producer_config(connection, f"{plan.targets}.pass"))
    producer.init_transactions(_TIMEOUT)
    consumer.subscribe([plan.source])
    while True:
        if messages := _batch(consumer, plan):
            producer.begin_transaction()
            (_write_tightly if plan.tight else _write)(producer, plan, messages)
            producer.produce(f"{plan.targets}.summaries", b"x" * plan.summary_bytes, b"pass", 0)
            # Batches are passed on whole: the next to be read is what is to be committed.
            offsets = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), _TIMEOUT)
            producer.commit_transaction(_TIMEOUT)


def _batch(consumer: Consumer, plan: Pass) -> Sequence[Message]:
    """The first record, and what comes within the time after it."""
    messages = consumer.consume(1, timeout=_IDLE_SECONDS)
    if messages and messages[0].error() is None and plan.batch > 1:
        messages += consumer.consume(plan.batch - 1, timeout=plan.fill_seconds)
    return [each for each in messages if each.error() is None]


def _write(producer: Producer, plan: Pass, messages: Sequence[Message]) -> None:
    """Two records a request, as one writes it in Python."""
    produce, outputs, audit = producer.produce, f"{plan.targets}.outputs", f"{plan.targets}.audit"
    output, record = b"x" * plan.output_bytes, b"x" * plan.audit_bytes
    for message in messages:
        key, partition = message.key(), message.partition()
        if plan.headers:
            produce(outputs, output, key, partition, headers=message.headers())  # type: ignore[arg-type] # as below
        else:
            produce(outputs, output, key, partition)  # type: ignore[arg-type] # a consumed record has a partition
        produce(audit, record, key, partition)  # type: ignore[arg-type] # as above


def _write_tightly(producer: Producer, plan: Pass, messages: Sequence[Message]) -> None:
    """The same without a step of the interpreter for each record."""
    keys, partitions = list(map(Message.key, messages)), list(map(Message.partition, messages))
    outputs: list[Iterable[Any]] = [
        repeat(f"{plan.targets}.outputs"),
        repeat(b"x" * plan.output_bytes),
        keys,
        partitions,
    ]
    if plan.headers:
        # Between partition and headers stand two names of the callback and the timestamp.
        outputs += [repeat(None), repeat(None), repeat(0), map(Message.headers, messages)]
    audit: list[Iterable[Any]] = [repeat(f"{plan.targets}.audit"), repeat(b"x" * plan.audit_bytes), keys, partitions]
    for columns in (outputs, audit):
        deque(starmap(producer.produce, zip(*columns, strict=False)), 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    run(Pass(**json.loads(sys.argv[1])))
