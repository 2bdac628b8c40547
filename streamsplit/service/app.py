"""The only place that builds a worker from its settings."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from streamsplit.core.errors import ServiceError
from streamsplit.core.judge import Judge
from streamsplit.inference.arm import ArmOptions
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.probing import Prober
from streamsplit.inference.repository import Repository
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.control_log import ControlWriter
from streamsplit.kafka.lane import Lane
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.positions import Gate, Positions, start_time
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.kafka.topic_facts import describe, message_limits
from streamsplit.kafka.topics import Topics
from streamsplit.kafka.transaction import Checkpoint, Transaction
from streamsplit.service.announcer import Announcer
from streamsplit.service.breaker_abort import BreakerAbort
from streamsplit.service.earlier_units import EarlierUnits
from streamsplit.service.faust_app import make_app
from streamsplit.service.fleet import Fleet
from streamsplit.service.health import Health, HealthServer
from streamsplit.service.judge_app import JudgeSurroundings, build_judge
from streamsplit.service.judging import Judging
from streamsplit.service.quiet_log import Repetitions
from streamsplit.service.report import Incarnation
from streamsplit.service.schema_settings import registry_of, schema_store, written_header
from streamsplit.service.sealing import Encoders, Sealer
from streamsplit.service.settings import Settings
from streamsplit.service.splitter import Serving as ServingState
from streamsplit.service.splitter import Splitter
from streamsplit.service.stopwatch import Stopwatch
from streamsplit.service.tally import Tally
from streamsplit.service.unit_memory import UnitMemory
from streamsplit.service.warm_arms import WarmArms
from streamsplit.service.worker import Serving, Worker
from streamsplit.wire.audit import AuditEncoder
from streamsplit.wire.decoder import RequestDecoder
from streamsplit.wire.outputs import OutputEncoder
from streamsplit.wire.registry import SchemaRegistry
from streamsplit.wire.summaries import SummaryEncoder, UnitsReader

logger = logging.getLogger(__name__)

_TELL_SECONDS = 1.0
_CLIENTS = ("streamsplit.kafka.client", "aiokafka")
"""Loggers of libraries that repeat a line many times a second while no broker answers."""

_ABORT_SECONDS = 2.0
"""Longest time that writing an abort keeps batches waiting; it is written again later."""

_NEEDED = (
    "requests",
    "outputs",
    "audit",
    "dead-letters",
    "summaries",
    "control",
    "workers",
    "decisions",
    "judge-state",
)


def run_worker(
    settings: Settings, *, tell: Callable[[Health], None] = lambda _: None, checkpoint: Checkpoint = lambda _: None
) -> int:
    """Run one worker until it is told to stop.

    Args:
        settings: Its settings.
        tell: Told the worker's health once a second.
        checkpoint: Fault tests' hook, called at marked points.

    Returns:
        The exit code: 0 when it was told to stop, 1 when it had to end.

    Raises:
        UsageError: A setting is wrong.
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s %(levelname)-7s {settings.slot} %(name)s: %(message)s",
    )
    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Repetitions(_CLIENTS))
    return asyncio.run(_run(settings, tell, checkpoint))


async def _run(settings: Settings, tell: Callable[[Health], None], checkpoint: Checkpoint) -> int:
    worker = build_worker(settings, checkpoint)
    health = HealthServer(settings.health, worker.health) if settings.health else None
    if health is not None:
        await health.start()
    telling = asyncio.create_task(_keep_telling(worker, tell))
    try:
        failure = await worker.run()
    finally:
        telling.cancel()
        if health is not None:
            await health.stop()
    code = 0 if failure is None else 1
    if worker.stuck:
        # Neither the event loop nor the interpreter ends while Faust does not; all that is ours has ended in order.
        logging.shutdown()
        os._exit(code)
    return code


async def _keep_telling(worker: Worker, tell: Callable[[Health], None]) -> None:
    while True:
        tell(worker.health())
        await asyncio.sleep(_TELL_SECONDS)


def build_worker(settings: Settings, checkpoint: Checkpoint = lambda _: None) -> Worker:
    """Build a worker.

    Raises:
        UsageError: A setting is wrong.
    """
    start_time(settings.start)
    connection = Connection(settings.brokers, settings.security)
    admin = connection.admin()
    topics = Topics(settings.deployment, settings.topics)
    incarnation, tally = Incarnation.now(settings.slot), Tally()
    inference = settings.inference
    arms = WarmArms(
        Repository(Path(settings.models)), ArmOptions(providers=inference.providers, threads=inference.threads)
    )
    around = _Surroundings(settings, connection, admin, topics, tally)
    worker: Worker
    follower = ControlFollower(connection, topics.control, on_change=lambda _: worker.note_change())
    worker = Worker(
        incarnation=incarnation,
        follower=follower,
        arms=arms,
        dispatcher=Dispatcher(watchdog=inference.watchdog),
        announcer=Announcer(incarnation, connection.producer("streamsplit-status"), topics.workers, tally),
        missing=lambda: _missing(admin, connection.brokers, topics),
        reader=lambda: StatusReader(connection, topics.workers),
        build=lambda worker: _build_serving(around, worker, checkpoint),
    )
    return worker


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a worker is built from and for."""

    settings: Settings
    connection: Connection
    admin: AdminClient
    topics: Topics
    tally: Tally


def _build_serving(around: _Surroundings, worker: Worker, checkpoint: Checkpoint) -> Serving:
    settings, connection, topics = around.settings, around.connection, around.topics
    writer = ControlWriter(connection, topics.control)
    aborts = ControlWriter(connection, topics.control, timeout=_ABORT_SECONDS)
    registry = registry_of(settings.registry)
    limits = message_limits(around.admin, [topics.outputs, topics.audit, topics.dead_letters, topics.summaries])
    transaction = Transaction(
        connection,
        f"{settings.deployment}.{settings.slot}",
        settings.group.transaction_timeout,
        checkpoint,
        min(limits.values()),
    )
    lane = Lane(
        connection,
        _lane_options(settings, topics),
        transaction=transaction,
        positions=lambda consumer: _positions(settings, topics, worker, consumer),
        deliver=worker.deliver,
        failed=worker.fail,
        checkpoint=checkpoint,
    )
    stopwatch = Stopwatch()
    sealer = Sealer(topics, _encoders(topics, registry), settings.slot, limits, stopwatch)
    earlier = EarlierUnits(connection, around.admin, topics.summaries, UnitsReader(schema_store(settings, registry)))
    splitter = Splitter(
        lane,
        lambda: _serving_state(worker),
        worker.arms,
        dispatcher=worker.dispatcher,
        prober=Prober(settings.slot),
        decoder=RequestDecoder(schema_store(settings, registry)),
        sealer=sealer,
        tally=around.tally,
        aborts=BreakerAbort(aborts, settings.slot, worker.dispatcher),
        units=UnitMemory(earlier),
        stopwatch=stopwatch,
    )
    fleet = Fleet(
        lambda: worker.follower.view.state, lambda: _partitions(around.admin, topics), writer, f"fleet@{settings.slot}"
    )
    judge = JudgeSurroundings(
        settings,
        connection,
        around.admin,
        topics,
        registry,
        worker.follower,
        around.tally,
        Judge,
        worker.deliver_summaries,
        checkpoint,
    )
    app, channel, summaries = make_app(
        connection,
        settings.deployment,
        topics.workers,
        serve=worker.serve,
        judge=worker.judge,
        observe=worker.observe,
    )
    return Serving(lane, splitter, fleet, Judging(partial(build_judge, judge)), app, channel, summaries)


def _serving_state(worker: Worker) -> ServingState:
    view = worker.follower.view
    # A state that holds commands unknown here is not ours to split by.
    return ServingState(view.state, fresh=view.fresh and not view.state.newer_format)


def _lane_options(settings: Settings, topics: Topics) -> LaneOptions:
    group, batch = settings.group, settings.batch
    return LaneOptions(
        topic=topics.requests,
        group=f"{settings.deployment}.requests",
        slot=settings.slot,
        protocol=group.protocol,
        static=group.static,
        session_seconds=group.session_timeout,
        batch_records=batch.records,
        batch_bytes=batch.bytes,
        batch_seconds=batch.wait,
    )


def _positions(settings: Settings, topics: Topics, worker: Worker, consumer: Consumer) -> Positions:
    def gate() -> Gate:
        view = worker.follower.view
        return Gate(view.position, view.state.accepted_losses)

    partners = (topics.outputs, topics.audit, topics.dead_letters)
    return Positions(consumer, topics.requests, partners, settings.start, gate)


def _missing(admin: AdminClient, brokers: str, topics: Topics) -> Sequence[str]:
    """What the brokers lack for this deployment to begin."""
    try:
        there = describe(admin, [topics.name(word) for word in _NEEDED])
    except ServiceError as error:
        return [f"no broker answers at {brokers}: {error}"]
    missing = [topics.name(word) for word in _NEEDED if topics.name(word) not in there]
    return [f"missing topics: {', '.join(missing)}: run `streamsplit topics create`"] if missing else []


def _partitions(admin: AdminClient, topics: Topics) -> int:
    found = describe(admin, [topics.requests])
    if topics.requests not in found:
        raise ServiceError(f"topic {topics.requests} is missing: run `streamsplit topics create`")
    return found[topics.requests].partitions


def _encoders(topics: Topics, registry: SchemaRegistry | None) -> Encoders:
    return Encoders(
        OutputEncoder(written_header(registry, topics.outputs, "output")),
        AuditEncoder(written_header(registry, topics.audit, "audit")),
        SummaryEncoder(written_header(registry, topics.summaries, "summary")),
    )
