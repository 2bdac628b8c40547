"""A deployment as its user has it: the program, its workers, its topics."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Message, Producer
from ruamel.yaml import YAML

from examples.flight_requests import flight_requests
from streamsplit.core.summary import Summary
from streamsplit.kafka.broker_settings import free_ports
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topics import Topics
from streamsplit.offline.ranges import committed_offsets, extents, read_range
from streamsplit.wire.audit import AuditReader, AuditRecord
from streamsplit.wire.outputs import Output, OutputReader
from streamsplit.wire.schemas import SchemaStore
from streamsplit.wire.summaries import SummaryReader

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
EXAMPLES = ROOT / "examples"
PROGRAM = Path(sys.executable).parent / "streamsplit"
PATIENCE_SECONDS = 120.0
"""For what comes by itself, on the slowest machine; nobody waits so long where it does come."""

_LOOK_SECONDS = 0.05

Answer = TypeVar("Answer")
Place = tuple[int, int]
"""Partition and offset of a request."""


def until(condition: Callable[[], Answer], seconds: float, what: Callable[[], object] | str) -> Answer:
    """What the condition answers as soon as that is true; a failed test with `what` when it is not in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}"
        time.sleep(_LOOK_SECONDS)
    return answer


@dataclass(frozen=True, slots=True)
class Sent:
    """A record to send.

    Attributes:
        value: None is a tombstone.
        key: Its key.
        headers: Its headers.
        partition: Where it goes; -1: by its key.
    """

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int = -1


def flights(count: int, start: int = 0) -> list[Sent]:
    """Real flights as requests."""
    return [Sent(each.value, each.key) for each in flight_requests(count, start)]


class Running:
    """A `streamsplit run` process.

    Attributes:
        health: `host:port` of its health address.
        log: File of what it says.
    """

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str], folder: Path, health: str
    ) -> None:
        self.health = health
        self.log = folder / f"worker-{health.rpartition(':')[2]}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=dict(environment), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def text(self) -> str:
        """All that it has said."""
        return self.log.read_text("utf-8", "replace")

    def ask(self, page: str) -> tuple[int, str]:
        """Status code and text of `live`, `ready` or `status`; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://{self.health}/{page}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self) -> dict[str, Any]:
        """What `/status` says; empty while nobody listens."""
        code, text = self.ask("status")
        return json.loads(text) if code == 200 else {}

    def until_ready(self) -> None:
        """Return when it serves."""
        until(lambda: self.ask("ready")[0] == 200 or self.process.poll() is not None, PATIENCE_SECONDS, self.why)
        assert self.process.poll() is None, self.why()

    def until_unready(self, word: str) -> str:
        """Return what `/ready` says when it refuses with a reason that holds this word."""
        return until(
            lambda: self._refusal(word), PATIENCE_SECONDS, lambda: f"{word!r} in {self.ask('ready')}; {self.why()}"
        )

    def until_said(self, word: str) -> str:
        """Return the line of its status' reasons, or of what it holds partitions back for, that has this word."""
        return until(lambda: self._said(word), PATIENCE_SECONDS, lambda: f"{word!r} in {self.status()}; {self.why()}")

    def why(self) -> str:
        """The last lines it has said."""
        return "\n".join(self.text.splitlines()[-25:])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end within {PATIENCE_SECONDS:.0f} s: {self.why()}") from None

    def kill(self) -> None:
        """End it and all of its group as `kill -9` does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def _refusal(self, word: str) -> str:
        code, text = self.ask("ready")
        return text if code == 503 and word in text else ""

    def _said(self, word: str) -> str:
        status = self.status()
        lines = [*status.get("reasons", ()), *status.get("waiting", {}).values()]
        return next((line for line in lines if word in line), "")


class Deployed:
    """One deployment on a broker.

    Args:
        brokers: Bootstrap servers.
        name: Of the deployment.
        folder: Where the program runs.
        settings: Further settings, by the names of their variables: `BATCH__RECORDS="100"`.
    """

    def __init__(self, brokers: str, name: str, folder: Path, **settings: str) -> None:
        self.connection = Connection(brokers)
        self.topics = Topics(name)
        self.folder = folder
        common = {"BROKERS": brokers, "DEPLOYMENT": name, "MODELS": str(MODELS), "DEVELOPMENT": "true"}
        self._settings = {**common, "START": "earliest", **settings}
        self._running: list[Running] = []
        self._producer: Producer | None = None
        store = SchemaStore()
        self._readers = AuditReader(store), OutputReader(store), SummaryReader(store)

    # -- the program --------------------------------------------------------------------------------------------------

    def do(self, *words: str, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the program; its exit code is asserted."""
        if "--wait" in words and "--timeout" not in words:
            words = (*words, "--timeout", f"{PATIENCE_SECONDS:g}")
        result = subprocess.run(
            [PROGRAM, *words],
            cwd=self.folder,
            env=self._environment(settings),
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_SECONDS,
            check=False,
        )
        assert result.returncode == code, f"{words}: exit {result.returncode}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr
        return result

    def told(self, *words: str, code: int = 0) -> Any:
        """What a verb prints as JSON."""
        return json.loads(self.do(*words, "-o", "json", code=code).stdout)

    def run(self, slot: str = "worker", *words: str, **settings: str) -> Running:
        """Start `streamsplit run`; it is ended with this deployment."""
        address = f"127.0.0.1:{free_ports(1)[0]}"
        environment = self._environment({"SLOT": slot, "HEALTH": address, **settings})
        running = Running([PROGRAM, "run", *words], environment, self.folder, address)
        self._running.append(running)
        return running

    def close(self) -> None:
        """End what still runs."""
        for running in self._running:
            if running.process.poll() is None:
                running.process.send_signal(signal.SIGTERM)
        for running in self._running:
            try:
                running.process.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        merged = {**self._settings, **settings}
        return {**os.environ, **{f"STREAMSPLIT_{name}": value for name, value in merged.items()}}

    # -- what goes in -------------------------------------------------------------------------------------------------

    def send(self, records: Iterable[Sent], topic: str = "requests") -> list[Place]:
        """Send records and wait until the brokers have them; where each went."""
        places: dict[int, Place] = {}
        # One for all: a new idempotent producer takes half a second.
        producer = self._producer = self._producer or self.connection.producer(
            "test-requests", partitioner="murmur2_random", linger_ms=5
        )

        def note(number: int) -> Callable[[Any, Message], None]:
            def noted(error: Any, message: Message) -> None:
                assert error is None, error
                places[number] = (message.partition(), message.offset())  # type: ignore[assignment] # delivered

            return noted

        count = 0
        for count, record in enumerate(records, 1):
            producer.produce(
                self.topics.name(topic),
                record.value,
                record.key,
                record.partition,
                headers=list(record.headers),
                on_delivery=note(count - 1),
            )
            producer.poll(0)
        assert producer.flush(60) == 0
        return [places[number] for number in range(count)]

    def forget_producer(self) -> None:
        """Send with a new producer from now on."""
        self._producer = None

    def write_control(self, line: bytes) -> list[Place]:
        """Write a line on the control log without the program, as kcat would."""
        return self.send([Sent(line, partition=0)], "control")

    def apply(self, file: str | Path, *words: str, wait: bool = True) -> None:
        """Apply a file of `examples`, or another, and wait until it has begun everywhere."""
        self.do("apply", "-f", str(EXAMPLES / file), *words, *(["--wait"] if wait else []))

    def watched(self, file: str, **arms: str) -> Path:
        """A copy of a file of `examples` where the judge only advises, so that a test alone walks the steps.

        Args:
            file: Its name.
            arms: Other models for its arms.
        """
        return self.patient(file, "advise", **arms)

    def patient(self, file: str, mode: str = "auto", **arms: str) -> Path:
        """A copy of a file of `examples` whose candidate has all the time that a slow machine takes.

        Args:
            file: Its name.
            mode: Whether the judge acts or only advises.
            arms: Other models for its arms.
        """
        spec = YAML(typ="safe").load(EXAMPLES / file)
        limits = {**spec["limits"], "timeout": f"{PATIENCE_SECONDS / 4:g}s"}
        copy = self.folder / f"patient-{file}"
        copy.write_text(json.dumps({**spec, "arms": {**spec["arms"], **arms}, "limits": limits, "mode": mode}))
        return copy

    # -- what comes out -----------------------------------------------------------------------------------------------

    def committed(self) -> dict[int, int]:
        """Partition → the next offset of `requests` to serve."""
        ends = extents(self.connection, self.topics.requests)
        return committed_offsets(self.connection, f"{self.topics.deployment}.requests", self.topics.requests, ends)

    def until_served(self, partitions: Iterable[int] | None = None) -> None:
        """Return when every request that is there has been served, on these partitions or on all."""
        ends = {number: extent.end for number, extent in extents(self.connection, self.topics.requests).items()}
        wanted = {number: end for number, end in ends.items() if end and (partitions is None or number in partitions)}
        until(
            lambda: all(self.committed().get(number, 0) >= end for number, end in wanted.items()),
            PATIENCE_SECONDS,
            lambda: f"{self.committed()} of {wanted}; {[running.why() for running in self._running]}",
        )

    def records(self, topic: str) -> Iterator[Message]:
        """All committed records of a topic."""
        name = self.topics.name(topic)
        for chunk in read_range(self.connection, name, extents(self.connection, name)):
            yield from chunk

    def audits(self) -> dict[Place, AuditRecord]:
        """The audit record of each request; two of one request are a failed test."""
        return self._by_place(self._readers[0].read(message.value() or b"") for message in self.records("audit"))

    def outputs(self) -> dict[Place, Output]:
        """The output of each request; two of one request are a failed test."""
        return self._by_place(self._readers[1].read(message.value() or b"") for message in self.records("outputs"))

    def summaries(self) -> list[Summary]:
        """All summaries, in their order."""
        return [self._readers[2].read(message.value() or b"") for message in self.records("summaries")]

    def letters(self) -> dict[Place, Message]:
        """The dead letter of each record; two of one record are a failed test."""
        found: dict[Place, Message] = {}
        for message in self.records("dead-letters"):
            place = int(header(message, "partition")), int(header(message, "offset"))
            assert place not in found, f"two dead letters of {place}"
            found[place] = message
        return found

    def verify(self) -> dict[str, Any]:
        """The report of `streamsplit verify`, which must be sound."""
        report: dict[str, Any] = self.told("verify")
        assert (report["ok"], report["lost"], report["doubled"], report["wrong"]) == (True, 0, 0, 0)
        return report

    @staticmethod
    def _by_place(records: Iterable[Any]) -> dict[Place, Any]:
        found: dict[Place, Any] = {}
        for record in records:
            place = record.source_partition, record.source_offset
            assert place not in found, f"two records of {place}"
            found[place] = record
        return found


def header(message: Message, word: str) -> str:
    """A dead letter's `__connect.errors.` header; the last of that name."""
    named: Any = message.headers() or ()
    return next(value.decode() for name, value in reversed(named) if name == f"__connect.errors.{word}")
