"""What a measurement stands on: a backlog of real flights, a deployment of its own, worker processes."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined] # its documented place

from examples.flights import flight_requests, produce
from streamsplit.cli.applying import Application
from streamsplit.core.commands import Command, Kind
from streamsplit.core.errors import ServiceError
from streamsplit.core.status import unprepared
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_log import ControlWriter
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.kafka.topics import Topics

ROOT = Path(__file__).parents[1]
PARTITIONS = 4
ROLLOUT = ROOT / "examples" / "delay-v2.yaml"
"""Two arms, delay@1 and delay@2; its first step gives the candidate 10 %."""

_STOP_SECONDS = 30.0
_READY_SECONDS = 90.0
_ADMIN_SECONDS = 30.0
_STEADY_LAG = 200


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment on the benchmark's brokers.

    Attributes:
        connection: The way to them.
        topics: Its topics; `requests` may be another's.
        settings: Of its workers.
    """

    connection: Connection
    topics: Topics
    settings: Mapping[str, object]

    def command(
        self, kind: Kind, payload: Mapping[str, object] | None = None, apply_revision: int | None = None
    ) -> int:
        """Append a command to the control log; its offset."""
        return self.writer().write(command(kind, payload, apply_revision))

    def writer(self) -> ControlWriter:
        """A writer of its control log."""
        return ControlWriter(self.connection, self.topics.control)


def command(kind: Kind, payload: Mapping[str, object] | None = None, apply_revision: int | None = None) -> Command:
    """A command about the benchmark's rollout, issued now."""
    begins = kind is Kind.BEGIN and apply_revision is not None
    return Command(
        # The fleet begins a rollout under this name: whoever is second changes nothing.
        command_id=f"begin-{apply_revision}" if begins else uuid.uuid4().hex,
        kind=kind,
        rollout=ROLLOUT.stem,
        payload=payload or {},
        apply_revision=apply_revision,
        actor="bench",
        issued_at_ms=time.time_ns() // 1_000_000,
    )


def application(*, retry: bool = False) -> dict[str, object]:
    """The payload that applies the benchmark's rollout."""
    return Application.read(ROLLOUT, ROOT / "models").payload(retry=retry)


def fill(connection: Connection, topic: str, count: int) -> None:
    """Make a topic of requests and write real flights to it, keyed by tail number.

    Raises:
        ServiceError: Not all of them were acknowledged.
    """
    make(connection, {topic: PARTITIONS})
    result = produce(connection.brokers, topic, rate=None, requests=flight_requests(count))
    if result.failed:
        raise ServiceError(f"{result.failed} of {count} requests could not be written: {result.error}")


@contextmanager
def deployment(
    connection: Connection, name: str, settings: Mapping[str, object], requests: str | None = None
) -> Iterator[Deployment]:
    """A deployment whose topics are gone at the end, but for the requests of another.

    Args:
        connection: The brokers.
        name: Its name.
        settings: Of its workers, beside brokers and names.
        requests: Topic of requests, where it is not its own.
    """
    renamed = {"requests": requests} if requests else {}
    topics = Topics(name, renamed)
    create_topics(connection, topics, partitions=PARTITIONS)
    own = {
        "brokers": connection.brokers,
        "deployment": name,
        "topics": renamed,
        "models": str(ROOT / "models"),
        "slot": "bench",
        "start": "earliest",
        "health": None,
        "development": True,
    }
    try:
        yield Deployment(connection, topics, {**own, **settings})
    finally:
        remove(connection, f"{name}.")


def make(connection: Connection, topics: Mapping[str, int]) -> None:
    """Make topics, name → partitions."""
    admin = connection.admin()  # its futures fail when it goes
    new = [NewTopic(name, partitions, 1) for name, partitions in topics.items()]
    for future in admin.create_topics(new, operation_timeout=_ADMIN_SECONDS).values():
        future.result()


def remove(connection: Connection, prefix: str) -> None:
    """Delete all topics whose names begin so."""
    admin = connection.admin()
    names = [topic for topic in admin.list_topics(timeout=_ADMIN_SECONDS).topics if topic.startswith(prefix)]
    for future in admin.delete_topics(names, operation_timeout=_ADMIN_SECONDS).values() if names else ():
        future.result()


@contextmanager
def workers(of: Deployment, count: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`streamsplit run`, stopped at the end; with a count, the parent of so many.

    Raises:
        ServiceError: It did not leave in order; with the end of its log.
    """
    arguments = ["-m", "streamsplit.cli.main", "-c", "{settings}", "run", *(["--workers", f"{count}"] if count else [])]
    with tempfile.TemporaryDirectory(prefix="streamsplit-bench-") as folder:
        settings = Path(folder) / "streamsplit.yaml"
        settings.write_text(json.dumps(of.settings), "utf-8")  # JSON is YAML, too
        with process([argument.format(settings=settings) for argument in arguments], Path(folder) / "log") as started:
            yield started


@contextmanager
def process(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process in the repository's root, ended with SIGTERM.

    Raises:
        ServiceError: It ended by itself with an error, or did not leave in order; with the end of its log.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMSPLIT_")}
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=output, env=environment
        )
    try:
        yield started
    except ServiceError as error:
        raise ServiceError(f"{error}\n{_tail(log)}") from error
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
        try:
            started.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
    if started.returncode:
        raise ServiceError(f"{' '.join(arguments)} ended with code {started.returncode}:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-20:])


def wait_for(reader: StatusReader, process: subprocess.Popen[bytes], missing: Callable[[], Sequence[str]]) -> None:
    """Follow the workers' statuses until nothing is missing.

    Args:
        reader: Of the statuses.
        process: The workers.
        missing: What is missing yet, for a person.

    Raises:
        ServiceError: The workers ended, or it took too long; with what was missing.
    """
    deadline = time.monotonic() + _READY_SECONDS
    while reasons := missing():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServiceError(f"the workers did not become ready: {'; '.join(reasons)}")
        reader.poll(0.02)


def not_prepared(reader: StatusReader, revision: int) -> Sequence[str]:
    """Why not every partition has a worker that is ready at a revision, with all its arms warm."""
    return unprepared(reader.alive(), revision, PARTITIONS)


def not_flowing(reader: StatusReader, count: int) -> Sequence[str]:
    """Why traffic is not steady yet: so many workers share the partitions, each has answered, none lags behind."""
    alive = reader.alive()
    reading = {number: next_ for status in alive.values() for number, next_ in status.reading.items()}
    lag = {number: behind for status in alive.values() for number, behind in status.lag.items()}
    working = sum(bool(status.reading) for status in alive.values())
    reasons = [f"{working} of {count} workers have partitions"] if working < count else []
    reasons += [f"partition {number} has no answer yet" for number in range(PARTITIONS) if not reading.get(number)]
    return reasons + [
        f"partition {number} is {behind} behind" for number, behind in lag.items() if behind > _STEADY_LAG
    ]
