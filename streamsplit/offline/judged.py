"""The judge's topics read back, and judged again from the first summary that is kept."""

from collections.abc import Iterator

from confluent_kafka import Message

from streamsplit.core.decision import Decision
from streamsplit.core.errors import DataError, ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.deadline import Deadline
from streamsplit.kafka.latest_record import latest_record
from streamsplit.kafka.state_history import StateHistory
from streamsplit.kafka.topics import Topics
from streamsplit.offline.history import read_history
from streamsplit.offline.ranges import Extent, committed_offsets, extents, place_of, read_range
from streamsplit.offline.replayed import Replay, ReplayedDecisions, compare, first_level
from streamsplit.wire.decisions import DecisionReader
from streamsplit.wire.judge_state import JudgeStateReader
from streamsplit.wire.schemas import SchemaStore
from streamsplit.wire.summaries import SummaryReader

_PATIENCE_SECONDS = 30.0


def judge_again(connection: Connection, topics: Topics, schemas: SchemaStore) -> ReplayedDecisions:
    """Replay the judge over all that was judged, and compare it with what was decided; committed records alone.

    Workers may go on meanwhile: it speaks of the summaries below the judge's committed offset. The order matters:
    that offset first, then what it was judged by, then how far the decisions reach.

    Args:
        connection: The way to the broker.
        topics: The deployment's.
        schemas: Writers' schemas.

    Raises:
        ServiceError: A topic is missing or cannot be read.
    """
    of_summaries = extents(connection, topics.summaries)[0]
    group = f"{topics.deployment}.judge"
    judged_to = committed_offsets(connection, group, topics.summaries, [0]).get(0, of_summaries.start)
    kept = Extent(of_summaries.start, max(of_summaries.start, judged_to))
    states, position = _states(connection, topics)
    reader = SummaryReader(schemas)
    complete_from = _complete_from(connection, topics, kept, reader)
    since = max(_since(connection, topics), complete_from)
    recorded = _recorded(connection, topics, schemas, judged_to)
    replay = Replay(states, position, reader, since, first_level(recorded, since) if complete_from >= 0 else {})
    replayed = (
        decision
        for message in _messages(connection, topics.summaries, kept)
        for decision in replay.take(place_of(message)[2], message.value())
    )
    return compare(recorded, replayed, since=since)


def _states(connection: Connection, topics: Topics) -> tuple[StateHistory, int]:
    """The control log, folded, and the next offset of it."""
    history, position = StateHistory(), 0
    for entry in read_history(connection, topics.control):
        history.add(entry.state)
        position = entry.offset + 1
    return history, position


def _since(connection: Connection, topics: Topics) -> int:
    """The revision from which on the judge began, as its state says; -1: with the first."""
    extents(connection, topics.judge_state)  # says how to make it where it is not there
    value = _last_state(connection, topics)
    try:
        return JudgeStateReader().read(value).since if value is not None else -1
    except DataError:
        return -1


def _last_state(connection: Connection, topics: Topics) -> bytes | None:
    """Asked again for a while: a judge wants a quick answer, and nothing waits for this one."""
    admin, deadline = connection.admin(), Deadline(_PATIENCE_SECONDS)
    while True:
        try:
            return latest_record(connection, admin, topics.judge_state, topics.deployment.encode()).value
        except ServiceError:
            if deadline.passed:
                raise


def _complete_from(connection: Connection, topics: Topics, kept: Extent, reader: SummaryReader) -> int:
    """Where retention has removed summaries: the first revision of which all are there; -1 where it has not."""
    if kept.start == 0:
        return -1
    for message in _messages(connection, topics.summaries, kept):
        try:
            return reader.read(message.value() or b"").revision + 1
        except DataError:
            continue
    return -1


def _recorded(connection: Connection, topics: Topics, schemas: SchemaStore, judged_to: int) -> list[Decision | None]:
    """The decisions about summaries below an offset; None: a record that is none."""
    reader, found = DecisionReader(schemas), list[Decision | None]()
    for message in _messages(connection, topics.decisions, extents(connection, topics.decisions)[0]):
        try:
            decision = reader.read(message.value() or b"")
        except DataError:
            found.append(None)
            continue
        if decision.summaries_to <= judged_to:
            found.append(decision)
    return found


def _messages(connection: Connection, topic: str, extent: Extent) -> Iterator[Message]:
    for chunk in read_range(connection, topic, {0: extent}):
        yield from chunk
