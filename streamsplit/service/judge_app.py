"""Builds a worker's judge from its settings: the part of `app.py` that is done again whenever a judge has failed."""

from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.control_log import ControlWriter
from streamsplit.kafka.judge_positions import JudgePositions
from streamsplit.kafka.lane import Lane
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.latest_record import latest_record
from streamsplit.kafka.topic_facts import message_limits
from streamsplit.kafka.topics import Topics
from streamsplit.kafka.transaction import Checkpoint, Transaction
from streamsplit.service.aggregator import Aggregator, JudgeLike, JudgeTopics
from streamsplit.service.due_commands import DueCommands
from streamsplit.service.judging import Summaries
from streamsplit.service.schema_settings import schema_store, written_header
from streamsplit.service.settings import Settings
from streamsplit.service.tally import Tally
from streamsplit.wire.decisions import DecisionEncoder
from streamsplit.wire.registry import SchemaRegistry
from streamsplit.wire.summaries import SummaryReader

BATCH_RECORDS = 1000
"""Most summaries in a transaction."""

BATCH_SECONDS = 0.2
"""Shortest time from one transaction to the next while summaries keep coming: each holds the whole state."""

_BATCH_BYTES = 4 * 2**20
_TRANSACTION_SECONDS = 3.0
"""Its transactions are small: a judge that is killed within one holds its successor up no longer than this."""

_WRITE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class JudgeSurroundings:
    """What a judge is built from and for.

    Attributes:
        settings: Of the worker.
        connection: The brokers.
        admin: Asks them.
        topics: Names.
        registry: Of schemas; None where there is none.
        follower: Of the control log.
        tally: Counts.
        judge: Makes judges.
        deliver: Takes each batch, in the lane's thread.
        checkpoint: Fault tests' hook; the judge's points begin with `judge:`.
    """

    settings: Settings
    connection: Connection
    admin: AdminClient
    topics: Topics
    registry: SchemaRegistry | None
    follower: ControlFollower
    tally: Tally
    judge: type[JudgeLike]
    deliver: Callable[[Summaries], None]
    checkpoint: Checkpoint = lambda _: None


def build_judge(around: JudgeSurroundings, failed: Callable[[ServiceError], None]) -> Aggregator:
    """An aggregator with its lane, not started yet.

    Args:
        around: What it is built from.
        failed: Takes the reason when the lane has ended.

    Raises:
        ServiceError: The brokers do not answer.
    """
    settings, topics, follower = around.settings, around.topics, around.follower
    limits = message_limits(around.admin, [topics.decisions, topics.judge_state])
    places: list[JudgePositions] = []

    def positions(consumer: Consumer) -> JudgePositions:
        places.append(_positions(around, consumer))
        return places[0]

    lane = Lane(
        around.connection,
        _lane_options(settings, topics),
        transaction=Transaction(
            around.connection,
            f"{settings.deployment}.{settings.slot}.judge",
            min(_TRANSACTION_SECONDS, settings.group.transaction_timeout),
            lambda point: around.checkpoint(f"judge:{point}"),
            min(limits.values()),
        ),
        positions=positions,
        deliver=lambda batch: around.deliver(Summaries(aggregator, batch)),
        failed=failed,
        checkpoint=lambda point: around.checkpoint(f"judge:{point}"),
    )
    aggregator = Aggregator(
        lane,
        lambda: places[0].succession,
        judge=around.judge,
        follower=follower,
        reader=SummaryReader(schema_store(settings, around.registry)),
        encoder=DecisionEncoder(written_header(around.registry, topics.decisions, "decision")),
        topics=JudgeTopics(topics.decisions, topics.judge_state, topics.deployment.encode(), limits),
        due=DueCommands(
            ControlWriter(around.connection, topics.control, timeout=_WRITE_SECONDS).write, lambda: follower.view.state
        ),
        tally=around.tally,
    )
    return aggregator


def _positions(around: JudgeSurroundings, consumer: Consumer) -> JudgePositions:
    topics, follower = around.topics, around.follower
    return JudgePositions(
        consumer,
        topics.summaries,
        latest=lambda: latest_record(around.connection, around.admin, topics.judge_state, topics.deployment.encode()),
        restore=around.judge.restored,
        folded_to=lambda: follower.view.position,
        applied=lambda: follower.view.state.apply_revision,
    )


def _lane_options(settings: Settings, topics: Topics) -> LaneOptions:
    group = settings.group
    return LaneOptions(
        topic=topics.summaries,
        group=f"{settings.deployment}.judge",
        slot=settings.slot,
        protocol=group.protocol,
        static=group.static,
        session_seconds=group.session_timeout,
        batch_records=BATCH_RECORDS,
        batch_bytes=_BATCH_BYTES,
        batch_seconds=BATCH_SECONDS,
    )
