"""What a judge should have decided: the same judge, fed by hand with the same topics."""

import uuid
from collections.abc import Sequence
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, Message, TopicPartition

from streamsplit.core.commands import Command, Kind, Refusal
from streamsplit.core.decision import Decision
from streamsplit.core.errors import DataError
from streamsplit.core.fold import apply
from streamsplit.core.rollout import State
from streamsplit.core.summary import Summary
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_log import submit
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.kafka.state_history import StateHistory
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.kafka.topics import Topics
from streamsplit.kafka.transaction import Transaction
from streamsplit.offline.ranges import committed_offsets, extents, read_range
from streamsplit.service.aggregator import JudgeLike
from streamsplit.wire.commands import decode_command
from streamsplit.wire.decisions import DecisionEncoder, DecisionReader
from streamsplit.wire.schemas import SchemaStore, packaged
from streamsplit.wire.summaries import SummaryEncoder, SummaryReader

MODELS = {f"delay@{version}": f"{version:064x}" for version in (1, 2)}
PLAIN = {"rollout": "first", "arms": {"control": "delay@1"}}
CANARY = {
    "rollout": "second",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "steps": [{"weight": 10}, {"weight": 100}],
}


class Court:
    """A deployment whose topics a test writes by hand: commands, and summaries in transactions as workers do."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection, self.topics = connection, Topics(name)
        create_topics(connection, self.topics, partitions=1)
        self._transaction = Transaction(connection, f"{name}.writer", 8.0)
        self._transaction.restore()
        self._encoder = SummaryEncoder(packaged("summary").header)
        self.sequence = 0

    def command(self, kind: Kind, rollout: str, payload: dict[str, Any] | None = None) -> int:
        """Write a command, which must be accepted; the revision it makes."""
        asked = Command(command_id=uuid.uuid4().hex, kind=kind, rollout=rollout, payload=payload or {})
        verdict = submit(self.connection, self.topics, asked)
        assert verdict.accepted, verdict.refusal
        return verdict.state.revision

    def begin(self, spec: dict[str, Any]) -> int:
        """Apply a file and begin it; the revision of that."""
        self.command(Kind.APPLY, spec["rollout"], {"spec": spec, "models": MODELS})
        return self.command(Kind.BEGIN, spec["rollout"])

    def summarise(self, revision: int, count: int = 1, slot: str = "worker") -> None:
        """Write summaries, in one transaction."""
        summaries = [
            Summary(slot, self.sequence + number, "second", revision, 1_700_000_000_000 + self.sequence + number)
            for number in range(count)
        ]
        self.sequence += count
        self.write(map(self._encoder.encode, summaries))

    def write(self, values: Any) -> None:
        """Write records to `summaries`, in one transaction."""
        records: list[bytes | None] = list(values)
        self._transaction.restore()
        self._transaction.commit([Outgoing.of(self.topics.summaries, records)], [], None)

    @property
    def group(self) -> str:
        """The judge's group."""
        return f"{self.topics.deployment}.judge"

    def committed(self) -> int:
        """The next offset of `summaries` to judge."""
        return committed_offsets(self.connection, self.group, self.topics.summaries, [0]).get(0, -1)

    def reset(self, offset: int) -> None:
        """Set the judge's offset, as kafka-consumer-groups does once the members are gone."""
        admin = self.connection.admin()
        place = ConsumerGroupTopicPartitions(self.group, [TopicPartition(self.topics.summaries, 0, offset)])
        admin.alter_consumer_group_offsets([place])[self.group].result()

    def last(self) -> int:
        """Behind the last committed summary."""
        return max((each.offset() or 0) + 1 for each in self.records(self.topics.summaries))

    def records(self, topic: str) -> list[Message]:
        """All committed records of a topic."""
        return [each for chunk in read_range(self.connection, topic, extents(self.connection, topic)) for each in chunk]

    def decided(self) -> list[bytes]:
        """The values of all decisions."""
        return [each.value() or b"" for each in self.records(self.topics.decisions)]

    def replayed(self, judge: type[JudgeLike], since: int = -1) -> list[bytes]:
        """The values of the decisions that this judge comes to, fed with the topics in their order."""
        made = judge.fresh()
        reader, encoder = SummaryReader(SchemaStore()), DecisionEncoder(packaged("decision").header)
        history = self.states()
        decisions: list[Decision] = []
        newest = max(history._revisions)
        for message in self.records(self.topics.summaries):
            offset, value = message.offset(), message.value()
            assert offset is not None
            try:
                summary = reader.read(value or b"")
            except DataError:
                continue
            revision = max(made.revision, summary.revision)
            if revision > newest:
                continue
            if summary.revision < since:
                made.overhear(summary, history.at(revision))
            else:
                decisions += made.take(summary, offset, history.at(revision), revision + 1)
        return [encoder.encode(each) for each in decisions]

    def states(self) -> StateHistory:
        """The control log, folded by hand."""
        history, state = StateHistory(), State()
        for message in self.records(self.topics.control):
            offset = message.offset()
            assert offset is not None
            command = decode_command(message.value(), offset=offset, timestamp_ms=0, active_rollout=state.name)
            result = apply(state, offset, command)
            state = state if isinstance(result, Refusal) else result
            history.add(state)
        return history

    def commands(self) -> list[Command]:
        """All commands of the log."""
        read = [
            decode_command(each.value(), offset=each.offset() or 0, timestamp_ms=0)
            for each in self.records(self.topics.control)
        ]
        return [each for each in read if isinstance(each, Command)]


class Recorded(Court):
    """The topics of a deployment whose workers write them."""

    def __init__(self, connection: Connection, topics: Topics) -> None:
        self.connection, self.topics = connection, topics


def decisions_of(values: Sequence[bytes]) -> list[Decision]:
    """What recorded decisions say."""
    return list(map(DecisionReader(SchemaStore()).read, values))
