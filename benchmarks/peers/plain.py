"""The bare loop: confluent-kafka, fastavro and ONNX Runtime in one process, and nothing around them.

    python -m benchmarks.peers.plain '{"brokers": "127.0.0.1:9092", ...}'

A batch is consumed, answered and committed, in one transaction with its offsets; then comes the next.
"""

import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, Message, Producer

from benchmarks.peers.plan import Plan
from benchmarks.peers.records import Encoded, Source
from benchmarks.peers.scorer import Scorer

_TIMEOUT = 10.0
_FILL_SECONDS = 0.1
_TRANSACTION_MS = 60_000


def consumer_config(plan: Plan) -> dict[str, Any]:
    """The consumer's settings: the queue is long enough that the loop never waits for a fetch."""
    return {
        "bootstrap.servers": plan.brokers,
        "group.id": plan.targets,
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "queued.min.messages": 100_000,
        "queued.max.messages.kbytes": 65_536,
        "fetch.queue.backoff.ms": 10,
        "fetch.wait.max.ms": 100,
    }


def producer_config(plan: Plan) -> dict[str, Any]:
    """The producer's settings: a whole transaction fits into its queue, and goes out in few requests."""
    transactional = {"transactional.id": f"{plan.targets}.plain", "transaction.timeout.ms": _TRANSACTION_MS}
    return {
        "bootstrap.servers": plan.brokers,
        "enable.idempotence": True,
        **(transactional if plan.exactly_once else {}),
        "linger.ms": plan.linger_ms,
        "compression.type": plan.compression,
        "retry.backoff.ms": 2,
        "retry.backoff.max.ms": 200,
        "batch.num.messages": 10_000,
        "batch.size": 10_000_000,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": 1_048_576,
    }


def run(plan: Plan, stop: threading.Event) -> None:
    """Serve until stopped."""
    scorer = Scorer(plan)
    consumer, producer = Consumer(consumer_config(plan)), Producer(producer_config(plan))
    if plan.exactly_once:
        producer.init_transactions(_TIMEOUT)
    consumer.subscribe([plan.source])
    while not stop.is_set():
        messages = [each for each in consumer.consume(plan.batch, timeout=_FILL_SECONDS) if each.error() is None]
        if messages:
            encoded = scorer.many([each.value() or b"" for each in messages], [_source(each) for each in messages])
            (_transact if plan.exactly_once else _deliver)(plan, consumer, producer, messages, encoded)
    consumer.close()


def _source(message: Message) -> Source:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return Source(partition, offset, message.timestamp()[1])


def _transact(
    plan: Plan, consumer: Consumer, producer: Producer, messages: Sequence[Message], encoded: Sequence[Encoded]
) -> None:
    producer.begin_transaction()
    _write(plan, producer, messages, encoded)
    # Batches are answered whole: the next to be read is what is to be committed.
    offsets = consumer.position(consumer.assignment())
    producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), _TIMEOUT)
    producer.commit_transaction(_TIMEOUT)


def _deliver(
    plan: Plan, consumer: Consumer, producer: Producer, messages: Sequence[Message], encoded: Sequence[Encoded]
) -> None:
    _write(plan, producer, messages, encoded)
    if left := producer.flush(_TIMEOUT):
        raise TimeoutError(f"{left} records were not acknowledged within {_TIMEOUT:.0f} s")
    consumer.commit(offsets=consumer.position(consumer.assignment()), asynchronous=False)


def _write(plan: Plan, producer: Producer, messages: Sequence[Message], encoded: Sequence[Encoded]) -> None:
    produce, outputs, audit = producer.produce, plan.outputs, plan.audit
    for message, (output, record) in zip(messages, encoded, strict=True):
        key, partition = message.key(), message.partition()
        produce(outputs, output, key, partition)  # type: ignore[arg-type] # a consumed record has a partition
        produce(audit, record, key, partition)  # type: ignore[arg-type] # as above


if __name__ == "__main__":
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    run(Plan.parse(sys.argv[1]), stopped)
