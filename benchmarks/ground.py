"""What a measurement stands on: topics, and deployments of its own."""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # its documented place

from benchmarks.asking import ask_until
from benchmarks.loads import Load
from streamsplit.core.commands import Command, Kind
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_log import ControlWriter
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.kafka.topics import Topics
from streamsplit.offline.ranges import extents

PARTITIONS = 4

_ADMIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment on the benchmark's brokers.

    Attributes:
        connection: The way to them.
        topics: Its topics; `requests` may be another's.
        load: What its models answer.
        partitions: Of its requests.
        settings: Of its workers.
    """

    connection: Connection
    topics: Topics
    load: Load
    partitions: int
    settings: dict[str, object]

    @property
    def group(self) -> str:
        """The consumer group of its requests."""
        return f"{self.topics.deployment}.requests"

    def command(
        self, kind: Kind, payload: Mapping[str, object] | None = None, apply_revision: int | None = None
    ) -> Command:
        """A command about its rollout, issued now."""
        begins = kind is Kind.BEGIN and apply_revision is not None
        return Command(
            # The fleet begins a rollout under this name: whoever is second changes nothing.
            command_id=f"begin-{apply_revision}" if begins else uuid.uuid4().hex,
            kind=kind,
            rollout=self.load.rollout,
            payload=payload or {},
            apply_revision=apply_revision,
            actor="bench",
            issued_at_ms=time.time_ns() // 1_000_000,
        )

    def writer(self) -> ControlWriter:
        """A writer of its control log."""
        return ControlWriter(self.connection, self.topics.control)

    def begin(self, application: Mapping[str, object], writer: ControlWriter | None = None) -> int:
        """Apply a rollout and begin it at once, candidates warm or not; the revision it is served under."""
        writer = writer or self.writer()
        applied = writer.write(self.command(Kind.APPLY, application))
        return writer.write(self.command(Kind.BEGIN, apply_revision=applied))


@contextmanager
def deployment(
    connection: Connection,
    name: str,
    load: Load,
    *,
    requests: str | None = None,
    partitions: int = PARTITIONS,
    settings: Mapping[str, object] | None = None,
) -> Iterator[Deployment]:
    """A deployment whose topics are gone at the end, but for the requests of another.

    Args:
        connection: The brokers.
        name: Its name.
        load: What its models answer.
        requests: Topic of requests, where it is not its own.
        partitions: Of the topic of requests.
        settings: Of its workers, beside brokers and names.
    """
    renamed = {"requests": requests} if requests else {}
    topics = Topics(name, renamed)
    create_topics(connection, topics, partitions=partitions)
    own: dict[str, object] = {
        "brokers": connection.brokers,
        "deployment": name,
        "topics": renamed,
        "models": str(load.models),
        "slot": "bench",
        "start": "earliest",
        "health": None,
        "development": True,
    }
    try:
        yield Deployment(connection, topics, load, partitions, {**own, **(settings or {})})
    finally:
        remove(connection, f"{name}.")


def make(connection: Connection, topics: Mapping[str, int]) -> None:
    """Make topics, name → partitions, and wait until their leaders answer.

    Raises:
        ServiceError: They do not within half a minute.
    """
    admin = connection.admin()  # its futures fail when it goes
    new = [NewTopic(name, partitions, 1) for name, partitions in topics.items()]
    for future in admin.create_topics(new, operation_timeout=_ADMIN_SECONDS).values():
        future.result()
    deadline = time.monotonic() + _ADMIN_SECONDS
    for name in topics:
        ask_until(deadline, partial(extents, connection, name))


def remove(connection: Connection, prefix: str) -> None:
    """Delete all topics whose names begin so."""
    admin = connection.admin()
    names = [topic for topic in admin.list_topics(timeout=_ADMIN_SECONDS).topics if topic.startswith(prefix)]
    for future in admin.delete_topics(names, operation_timeout=_ADMIN_SECONDS).values() if names else ():
        future.result()
