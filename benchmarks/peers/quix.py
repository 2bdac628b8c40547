"""Quix Streams 3: a dataframe with one step, and two topics behind it.

    python -m benchmarks.peers.quix '{"brokers": "127.0.0.1:9092", ...}'

A record at a time, as Quix Streams has it: its dataframes have no batches outside windows. A checkpoint is a
transaction, and is committed every `batch` requests (its documentation, "Checkpointing"). Answers are serialized by
the topics, so that no value is copied for two branches (its documentation, "Branching" and "Serialization").
Partitions cannot be named: its producer's murmur2 gives a key the partition that the Java clients' hash gave the
request, and all requests without a key one and the same.
"""

import sys
from typing import Any

from quixstreams import Application, message_context  # type: ignore[import-not-found] # in the peers' environment only
from quixstreams.models import Serializer  # type: ignore[import-not-found] # as above

from benchmarks.peers.plan import Plan
from benchmarks.peers.records import Encoded, Source
from benchmarks.peers.scorer import Scorer

_LONGEST_CHECKPOINT_SECONDS = 1.0


class _Part(Serializer):  # type: ignore[misc] # it has no types here
    """Writes one of the two values of an answer."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self._index = index

    def __call__(self, value: Encoded, ctx: Any) -> bytes:
        """The bytes of the part."""
        del ctx
        return value[self._index]


def run(plan: Plan) -> None:
    """Serve until SIGTERM, which Quix Streams handles."""
    scorer = Scorer(plan)
    app = Application(
        broker_address=plan.brokers,
        consumer_group=plan.targets,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once" if plan.exactly_once else "at-least-once",
        commit_every=plan.batch,
        commit_interval=_LONGEST_CHECKPOINT_SECONDS,
        producer_extra_config={"linger.ms": plan.linger_ms, "compression.type": plan.compression},
        state_dir=plan.folder,
        auto_create_topics=False,
        loglevel="WARNING",
    )
    requests = app.topic(plan.source, key_deserializer="bytes", value_deserializer="bytes")
    outputs = app.topic(plan.outputs, key_serializer="bytes", value_serializer=_Part(0))
    audit = app.topic(plan.audit, key_serializer="bytes", value_serializer=_Part(1))

    def answer(value: bytes, _key: bytes | None, timestamp: int, _headers: object) -> Encoded:
        context = message_context()
        return scorer.one(value, Source(context.partition, context.offset, timestamp))

    app.dataframe(requests).apply(answer, metadata=True).to_topic(outputs).to_topic(audit)
    app.run()


if __name__ == "__main__":
    run(Plan.parse(sys.argv[1]))
