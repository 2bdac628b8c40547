"""The limit: consume, write as many bytes a request as a worker does, commit; no work at all in between.

    python -m benchmarks.pass_through '{"brokers": "127.0.0.1:9092", ...}'

It reads in batches and writes in transactions with the lane's own settings of librdkafka, to explicit partitions, with
the requests' keys. It goes on until it is stopped.
"""

import json
import signal
import sys
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, Message, Producer

from streamsplit.kafka.clients import Connection
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.transaction import LARGEST_BATCH

_TIMEOUT = 10.0
_FILL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Pass:
    """What to pass on.

    Attributes:
        brokers: Bootstrap servers.
        source: Topic of requests.
        targets: Topics beginning so: `outputs`, `audit` and `summaries` are appended.
        batch: Records in a transaction.
        output_bytes: Length of an output value.
        audit_bytes: Length of an audit value.
        summary_bytes: Length of the summary, one a transaction.
    """

    brokers: str
    source: str
    targets: str
    batch: int
    output_bytes: int
    audit_bytes: int
    summary_bytes: int


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
    connection = Connection(plan.brokers)
    consumer = Consumer(consumer_config(connection, plan))
    producer = Producer(producer_config(connection, f"{plan.targets}.pass"))
    producer.init_transactions(_TIMEOUT)
    consumer.subscribe([plan.source])
    while True:
        messages = [each for each in consumer.consume(plan.batch, timeout=_FILL_SECONDS) if each.error() is None]
        if messages:
            producer.begin_transaction()
            _write(producer, plan, messages)
            # Batches are passed on whole: the next to be read is what is to be committed.
            offsets = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), _TIMEOUT)
            producer.commit_transaction(_TIMEOUT)


def _write(producer: Producer, plan: Pass, messages: list[Message]) -> None:
    produce, outputs, audit = producer.produce, f"{plan.targets}.outputs", f"{plan.targets}.audit"
    output, record = b"x" * plan.output_bytes, b"x" * plan.audit_bytes
    for message in messages:
        key, partition = message.key(), message.partition()
        produce(outputs, output, key, partition)  # type: ignore[arg-type] # a consumed record has a partition
        produce(audit, record, key, partition)  # type: ignore[arg-type] # as above
    produce(f"{plan.targets}.summaries", b"x" * plan.summary_bytes, b"pass", 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    run(Pass(**json.loads(sys.argv[1])))
