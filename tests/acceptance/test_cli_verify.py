"""`verify` on a real broker: sound where the records are, and wrong where one of them was tampered with.

A worker's transactions are written here with the workers' own encoders, so that each fault can be made on purpose.
"""

import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from confluent_kafka import Producer, TopicPartition
from numpy.typing import NDArray

from streamsplit.core.audit_digest import link, stretch_digest
from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.commands import Command
from streamsplit.core.headers import packed
from streamsplit.core.records import Outcome, Predictions, RawBatch, RequestColumns, Routing
from streamsplit.core.rollout import State, chain_label
from streamsplit.core.routing import RoutingTable, route
from streamsplit.core.summary import PartitionProgress, Summary
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_log import submit
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.kafka.topics import Topics
from streamsplit.wire.audit import AuditEncoder
from streamsplit.wire.outputs import OutputEncoder
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.schemas import packaged
from streamsplit.wire.summaries import SummaryEncoder

pytestmark = pytest.mark.broker

PROGRAM = Path(sys.executable).parent / "streamsplit"
PARTITIONS, EACH, BATCH = 2, 300, 100
SPEC = {
    "rollout": "delay-v2",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "unit": "key",
    "routes": [{"when": {"carrier": ["UA"]}, "weights": {"canary": 50}}],
    "steps": [{"weight": 10}, {"weight": 75}],
}
COMMANDS: list[tuple[str, dict[str, object]]] = [
    ("apply", {"spec": SPEC, "models": {"delay@1": "a" * 64, "delay@2": "b" * 64}}),
    ("begin", {}),
    ("advance", {}),
]
ENCODERS = OutputEncoder(packaged("output").header), AuditEncoder(packaged("audit").header)


@dataclass(frozen=True)
class Transaction:
    """What a worker is about to commit, for a test to spoil."""

    outputs: list[tuple[bytes, bytes, int]]
    audits: list[tuple[bytes, bytes, int]]
    offsets: dict[int, int]
    digests: dict[int, bytes]


Spoil = Callable[[Transaction], Transaction]


class Deployment:
    """Requests, a control log, and a worker that serves them batch by batch."""

    def __init__(self, connection: Connection, topics: Topics) -> None:
        self.connection, self.topics = connection, topics
        create_topics(connection, topics, partitions=PARTITIONS)
        self._producer = connection.producer(
            "test-worker", transactional_id=f"{topics.deployment}.test", transaction_timeout_ms=60_000
        )
        self._producer.init_transactions(60)
        self._link: bytes | None = None

    def request(self) -> None:
        """Send the requests; the last of each partition is no request."""
        schema = fastavro.parse_schema(packaged("request").definition, _force=True)
        producer = self.connection.producer("test-requests", linger_ms=5)
        for partition in range(PARTITIONS):
            for offset in range(EACH):
                fields = {"id": f"{partition}-{offset}", "attributes": {"carrier": carrier(offset)}, "inputs": []}
                body = io.BytesIO()
                fastavro.schemaless_writer(body, schema, fields)
                value = packaged("request").header + body.getvalue()
                garbage = b"\x00garbage" if offset == EACH - 1 else value
                producer.produce(self.topics.requests, garbage, key(offset), partition, headers=[("trace", b"1")])
        assert producer.flush(60) == 0

    def serve(self, spoil: Spoil = lambda transaction: transaction) -> None:
        """Serve everything: a third of each partition under each revision."""
        state = State()
        for step, (kind, payload) in enumerate(COMMANDS):
            command = Command(command_id=uuid.uuid4().hex, kind=kind, rollout="delay-v2", payload=payload)
            verdict = submit(self.connection, self.topics, command)
            assert verdict.accepted, verdict
            state = verdict.state
            for first in range(step * EACH // 3, (step + 1) * EACH // 3, BATCH):
                self.commit(spoil(self.batch(state, first)))

    def batch(self, state: State, first: int) -> Transaction:
        """The transaction of one batch, of both partitions."""
        places = [(partition, offset) for partition in range(PARTITIONS) for offset in range(first, first + BATCH)]
        good = np.array([row for row, (_, offset) in enumerate(places) if offset != EACH - 1])
        raw = RawBatch(
            epoch=1,
            values=ByteStrings.repeated(b"", len(places)),
            keys=ByteStrings.of([key(offset) for _, offset in places]),
            headers=ByteStrings.repeated(packed([("trace", b"1")]), len(places)),
            partitions=np.array([partition for partition, _ in places], np.int32),
            offsets=np.array([offset for _, offset in places], np.int64),
            timestamps=np.zeros(len(places), np.int64),
        )
        columns = RequestColumns(
            rows=good,
            ids=ByteStrings.of([f"{places[row][0]}-{places[row][1]}".encode() for row in good]),
            times=np.zeros(len(good), np.int64),
            attributes={"carrier": ByteStrings.of([carrier(places[row][1]).encode() for row in good])},
            inputs={},
        )
        routing = route(RoutingTable.compile(state), columns, raw.keys.at(good))
        outputs, audits = encoded(raw, columns, routing, state)
        return Transaction(
            [(value, raw.keys[row] or b"", int(raw.partitions[row])) for value, row in zip(outputs, good, strict=True)],
            [(value, raw.keys[row] or b"", int(raw.partitions[row])) for value, row in zip(audits, good, strict=True)],
            dict.fromkeys(range(PARTITIONS), first + BATCH),
            {number: self._digest(raw, good, audits, number, first + BATCH) for number in range(PARTITIONS)},
        )

    def _digest(self, raw: RawBatch, rows: NDArray[np.int64], audits: ByteStrings, partition: int, end: int) -> bytes:
        """Of what the batch writes to a partition; the dead letter stands behind its last request."""
        mine = audits.at(np.flatnonzero(raw.partitions[rows] == partition))
        return stretch_digest(mine, [b"\x00garbage"] if end == EACH else [])

    def summarize(self, transaction: Transaction) -> bytes:
        """The summary of a batch, with the digests of what was not spoiled yet, behind the one before."""
        partitions = tuple(
            PartitionProgress(number, end - BATCH, end, digest=transaction.digests.get(number))
            for number, end in transaction.offsets.items()
        )
        summary = Summary("s-0", 0, "delay-v2", 0, 0, partitions, previous=self._link)
        value = SummaryEncoder(packaged("summary").header).encode(summary)
        self._link = link(value)
        return value

    def commit(self, transaction: Transaction) -> None:
        """One transaction: answers, audit, dead letters, summary and offsets."""
        producer: Producer = self._producer
        producer.begin_transaction()
        for value, record_key, partition in transaction.outputs:
            producer.produce(self.topics.outputs, value, record_key, partition, headers=[("trace", b"1")])
        for value, record_key, partition in transaction.audits:
            producer.produce(self.topics.audit, value, record_key, partition)
        for partition, end in transaction.offsets.items():
            if end == EACH:
                self._bury(producer, partition, EACH - 1)
        producer.produce(self.topics.summaries, self.summarize(transaction), b"s-0", 0)
        offsets = [
            TopicPartition(self.topics.requests, partition, end) for partition, end in transaction.offsets.items()
        ]
        consumer = self.connection.reader("test-group", group_id=f"{self.topics.deployment}.requests")
        consumer.subscribe([self.topics.requests])
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 10)
        producer.commit_transaction(60)
        consumer.close()

    def _bury(self, producer: Producer, partition: int, offset: int) -> None:
        errors = {"topic": self.topics.requests, "partition": partition, "offset": offset, "stage": "decode"}
        headers: list[Any] = [("trace", b"1")]
        headers += [(f"__connect.errors.{name}", str(word).encode()) for name, word in errors.items()]
        producer.produce(self.topics.dead_letters, b"\x00garbage", key(offset), partition, headers=headers)


def key(offset: int) -> bytes:
    return f"N{offset % 61}".encode()


def carrier(offset: int) -> str:
    return ("UA", "B6", "DL")[offset % 3]


def encoded(raw: RawBatch, columns: RequestColumns, routing: Routing, state: State) -> tuple[ByteStrings, ByteStrings]:
    predictions = Predictions(
        served_by=routing.arms,
        outcomes=np.full(len(columns), Outcome.OK, np.int8),
        micros=np.ones(len(columns), np.int64),
        outputs={},
        reasons={},
    )
    arms = tuple(arm.name for arm in state.arms)
    models = tuple(chain_label(arm.chain) for arm in state.arms)
    provenance = Provenance(state.name, state.revision, arms, models, ())
    outputs = ENCODERS[0].encode(raw, columns, predictions, provenance)
    return outputs, ENCODERS[1].encode(raw, columns, routing, predictions, provenance, processed_time=0)


@pytest.fixture
def served(connection: Connection, deployment: str) -> Deployment:
    made = Deployment(connection, Topics(deployment))
    made.request()
    return made


def verified(made: Deployment, code: int) -> dict[str, Any]:
    variables = {"BROKERS": made.connection.brokers, "DEPLOYMENT": made.topics.deployment}
    result = subprocess.run(
        [PROGRAM, "verify", "-o", "json"],
        env={**os.environ, **{f"STREAMSPLIT_{name}": value for name, value in variables.items()}},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert result.returncode == code, result.stdout + result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def faults(report: dict[str, Any]) -> dict[str, int]:
    return {word: fault["count"] for word, fault in report["faults"].items() if fault["count"]}


def test_a_sound_deployment_is_verified_with_its_shares_and_cuts(served: Deployment) -> None:
    served.serve()
    report = verified(served, code=0)
    assert report["ok"]
    assert (report["requests"], report["outputs"], report["audits"]) == (600, 598, 598)
    assert report["dead_letters"] == {"routed": 0, "unrouted": 2}
    assert [cut["first"] for cut in report["cuts"]] == [{"0": first, "1": first} for first in (0, 100, 200)]
    assert {(share["revision"], share["rule"], share["set"]) for share in report["shares"]} == {
        (1, -1, 10.0), (1, 0, 50.0), (2, -1, 75.0), (2, 0, 50.0)
    }  # fmt: skip
    assert all(share["within"] for share in report["shares"])
    assert report["digests"] == {
        "verified": 6, "partly_removed": 0, "requests_without": 0, "chain_restarted": 0, "served_again": 0
    }  # fmt: skip


def test_what_a_foreign_producer_adds_is_told_by_the_digests(served: Deployment) -> None:
    kept: list[Transaction] = []

    def keeping(transaction: Transaction) -> Transaction:
        kept.append(transaction)
        return transaction

    served.serve(keeping)
    producer = served.connection.producer("test-forger")
    value, record_key, partition = kept[1].audits[-1]
    producer.produce(served.topics.audit, value, record_key, partition)
    forged = Summary("s-0", 1, "delay-v2", 2, 0, previous=b"\0" * 32)
    producer.produce(served.topics.summaries, SummaryEncoder(packaged("summary").header).encode(forged), b"s-0", 0)
    assert producer.flush(60) == 0
    report = verified(served, code=1)
    assert faults(report) == {"audit_doubled": 1, "digest_mismatch": 1, "chain_broken": 1}
    assert report["faults"]["digest_mismatch"]["first"] == [[1, 100]]
    assert report["digests"]["verified"] == 5


def test_stretches_that_retention_has_cut_are_left_out_and_the_others_verified(served: Deployment) -> None:
    served.serve()
    admin = served.connection.admin()
    for future in admin.delete_records([TopicPartition(served.topics.audit, 0, 150)]).values():
        future.result()
    report = verified(served, code=0)
    assert (report["digests"]["verified"], report["digests"]["partly_removed"]) == (4, 2)


def test_requests_of_older_workers_are_counted_as_without_digest(served: Deployment) -> None:
    served.serve(once(lambda transaction: replace(transaction, digests={})))
    report = verified(served, code=0)
    assert (report["digests"]["verified"], report["digests"]["requests_without"]) == (4, 200)


def once(spoil: Spoil) -> Spoil:
    """The fault in the first batch alone."""
    done: list[bool] = []

    def spoiled(transaction: Transaction) -> Transaction:
        if done:
            return transaction
        done.append(True)
        return spoil(transaction)

    return spoiled


Records = list[tuple[bytes, bytes, int]]


def without(records: Records) -> Records:
    """All but the sixth: the first of all would merely begin the universe later."""
    return [*records[:5], *records[6:]]


def with_sixth(records: Records, record_key: bytes, partition: int) -> Records:
    """The sixth with another key or partition."""
    return [*records[:5], (records[5][0], record_key, partition), *records[6:]]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda t: replace(t, outputs=without(t.outputs), audits=without(t.audits)), "lost"),
        (lambda t: replace(t, outputs=[*t.outputs[:6], t.outputs[5], *t.outputs[6:]]), "doubled"),
        (lambda t: replace(t, audits=without(t.audits)), "unaudited"),
        (lambda t: replace(t, outputs=[*t.outputs[:5], t.outputs[6], t.outputs[5], *t.outputs[7:]]), "out_of_order"),
        (lambda t: replace(t, outputs=with_sixth(t.outputs, b"another", 0)), "changed"),
        (lambda t: replace(t, outputs=with_sixth(t.outputs, t.outputs[5][1], 1)), "misplaced"),
    ],
    ids=["lost", "doubled", "unaudited", "out of order", "another key", "another partition"],
)
def test_one_spoiled_record_is_found_and_named(served: Deployment, spoil: Spoil, found: str) -> None:
    served.serve(once(spoil))
    report = verified(served, code=1)
    spoiled_audit = found in {"lost", "unaudited"}
    assert faults(report) == {found: 1} | ({"digest_mismatch": 1} if spoiled_audit else {})
    assert report["faults"][found]["first"] == [[0, 5]]


def test_an_aborted_transaction_counts_for_nothing(served: Deployment) -> None:
    def aborting(transaction: Transaction) -> Transaction:
        producer = served._producer
        producer.begin_transaction()
        for value, record_key, partition in transaction.outputs:
            producer.produce(served.topics.outputs, value, record_key, partition)
        producer.flush(60)
        producer.abort_transaction(60)
        return transaction

    served.serve(once(aborting))
    assert verified(served, code=0)["outputs"] == 598


def test_requests_that_retention_removed_after_they_were_served_are_not_judged(served: Deployment) -> None:
    served.serve()
    admin = served.connection.admin()
    for future in admin.delete_records([TopicPartition(served.topics.requests, 0, 120)]).values():
        future.result()
    report = verified(served, code=0)
    assert report["universe"] == [
        {"partition": 0, "from": 120, "to": 300, "unjudged": 120},
        {"partition": 1, "from": 0, "to": 300, "unjudged": 0},
    ]
    assert report["requests"] == 480
