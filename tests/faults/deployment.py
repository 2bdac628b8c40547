"""A deployment under load: topics, a rollout, traffic, workers that are kept, and the proof at the end."""

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from examples.flights import Pace, Produced, Request, Timing, produce
from streamsplit.core.commands import Command, Kind
from streamsplit.core.rollout import Phase, State
from streamsplit.core.status import Status
from streamsplit.inference.repository import Repository
from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import ControlFollower, Verdict
from streamsplit.kafka.control_log import submit
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.kafka.topic_creation import create_topics
from streamsplit.kafka.topics import Topics
from streamsplit.offline.judged import judge_again
from streamsplit.offline.reading import group_of, read
from streamsplit.offline.report import Report
from streamsplit.offline.verification import verify
from streamsplit.wire.schemas import SchemaStore
from tests.faults.kept_worker import Fault, KeptWorker, until
from tests.faults.proof import ends, require_exactly_once

MODELS = Path(__file__).parents[2] / "models"
PARTITIONS = 4
SESSION_SECONDS, TRANSACTION_SECONDS = 6.0, 5.0
PATIENCE_SECONDS = 120.0
"""For what comes by itself, on the slowest machine."""

SPEC: Mapping[str, Any] = {
    "rollout": "under-fault",
    "arms": {"control": "delay@1", "canary": "delay@2"},
    "unit": "id",
    "routes": [{"mirror": {"canary": 20, "budget": "3s"}}],
    "steps": [{"weight": 25}, {"weight": 75}],
    # Weights are turned by the tests, and taken back by breakers: the judge watches.
    "mode": "advise",
    "limits": {"timeout": "3s", "memory": "1GiB", "breaker": 5},
}


class Traffic:
    """Flights that are sent until enough is enough.

    Args:
        brokers: Where to.
        topic: The topic of requests.
        rate: Records a second.
        timing: What they say of their time.
        requests: What is sent instead of the flights from January on.
    """

    def __init__(
        self,
        brokers: str,
        topic: str,
        rate: float,
        timing: Timing | Pace = "now",
        requests: Iterable[Request] | None = None,
    ) -> None:
        self._stop = threading.Event()
        self._results: list[Produced] = []
        self._thread = threading.Thread(
            target=self._send, args=(brokers, topic, rate, timing, requests), name="traffic", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(90)

    def end(self) -> int:
        """Send no more; returns how many requests the brokers have."""
        self._stop.set()
        self._thread.join(90)
        (result,) = self._results
        assert result.failed == 0, result.error
        return result.delivered

    def _send(
        self, brokers: str, topic: str, rate: float, timing: Timing | Pace, requests: Iterable[Request] | None
    ) -> None:
        sent = produce(brokers, topic, rate=rate, stop=self._stop, timing=timing, requests=requests)
        self._results.append(sent)


class Deployment:
    """A deployment of a test's own.

    Args:
        connection: The brokers.
        name: Its name.
        folder: For logs.
        models: The models folder.
        cluster: Its brokers, where they are its own.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        folder: Path,
        models: Path = MODELS,
        cluster: DevelopmentCluster | None = None,
    ) -> None:
        self.connection = connection
        self.cluster = cluster
        self.topics = Topics(name)
        self._folder = folder
        self._models = models
        self._workers: list[KeptWorker] = []
        create_topics(connection, self.topics, partitions=PARTITIONS)
        self._admin = connection.admin()
        self._statuses = StatusReader(connection, self.topics.workers)

    def apply(self, spec: Mapping[str, Any] = SPEC) -> State:
        """Apply a rollout and begin it; workers that have no candidate yet answer its rows by control."""
        repository = Repository(self._models)
        pins = {label: repository.pin(label).sha256 for label in spec["arms"].values()}
        state = self.command(Kind.APPLY, {"spec": spec, "models": pins}, spec["rollout"])
        if state.phase is not Phase.PREPARING:
            return state
        verdict = self._submit(Kind.BEGIN, {}, spec["rollout"])
        # A worker that is ready may have begun it in between; then ours is refused.
        assert verdict.accepted or verdict.state.phase is not Phase.PREPARING, verdict
        return verdict.state

    def turn(self, percent: float) -> State:
        """Set the candidate's weight."""
        return self.command(Kind.SET_WEIGHT, {"weights": {"canary": percent}}, SPEC["rollout"])

    def command(self, kind: Kind, payload: Mapping[str, Any], rollout: str) -> State:
        """Give a command that must be accepted; returns the state behind it."""
        verdict = self._submit(kind, payload, rollout)
        assert verdict.accepted, verdict
        return verdict.state

    def _submit(self, kind: Kind, payload: Mapping[str, Any], rollout: str) -> Verdict:
        command = Command(command_id=uuid.uuid4().hex, kind=kind, rollout=rollout, payload=payload, actor="test")
        return submit(self.connection, self.topics, command, timeout=PATIENCE_SECONDS)

    def state(self) -> State:
        """The fold of the control log up to its end."""
        with ControlFollower(self.connection, self.topics.control) as follower:
            view = follower.wait(lambda view: view.fresh, PATIENCE_SECONDS)
            assert view is not None
            return view.state

    def worker(self, slot: str, faults: Sequence[Fault] = (), **group: Any) -> KeptWorker:
        """Start a worker."""
        settings = {
            "brokers": self.connection.brokers,
            "deployment": self.topics.deployment,
            "models": str(self._models),
            "slot": slot,
            "start": "earliest",
            "health": None,
            "batch": {"records": 500},
            "group": {"session_timeout": SESSION_SECONDS, "transaction_timeout": TRANSACTION_SECONDS, **group},
        }
        kept = KeptWorker(settings, faults, self._folder / f"{slot}.log")
        self._workers.append(kept)
        return kept

    @contextmanager
    def traffic(
        self, rate: float = 1000.0, timing: Timing | Pace = "now", requests: Iterable[Request] | None = None
    ) -> Iterator[Traffic]:
        """Requests at a steady rate until `end`, or the end of the block; arguments as of `Traffic`."""
        with Traffic(self.connection.brokers, self.topics.requests, rate, timing, requests) as traffic:
            yield traffic

    def served(self) -> dict[int, int]:
        """Partition → the group's committed offset; 0 without one, and where the broker does not answer."""
        places = [TopicPartition(self.topics.requests, number) for number in range(PARTITIONS)]
        asked = ConsumerGroupTopicPartitions(group_of(self.topics.deployment), places)
        (future,) = self._admin.list_consumer_group_offsets([asked], request_timeout=10).values()
        try:
            found = future.result().topic_partitions
        except KafkaException:
            return dict.fromkeys(range(PARTITIONS), 0)
        return {place.partition: max(place.offset, 0) for place in found}

    def wait_served(self, requests: int) -> None:
        """Return when so many requests have been served."""
        until(
            lambda: sum(self.served().values()) >= requests,
            PATIENCE_SECONDS,
            lambda: f"{requests} requests are served: {self.served()}\n{self.tails()}",
        )

    def wait_all_served(self) -> None:
        """Return when every request that the topic holds has been served."""
        until(
            lambda: self.served() == ends(self.connection, self.topics.requests),
            PATIENCE_SECONDS,
            lambda: f"all requests are served: {self.served()}\n{self.tails()}",
        )

    def statuses(self) -> Mapping[str, Status]:
        """Slot → status of the workers that live."""
        while self._statuses.poll(0.02):
            pass
        return self._statuses.alive()

    def wait_status(self, slot: str, condition: Any, what: str) -> Status:
        """Wait until a living worker's status fulfils a condition."""

        def met() -> Status | None:
            status = self.statuses().get(slot)
            return status if status is not None and condition(status) else None

        found = until(met, PATIENCE_SECONDS, lambda: f"{slot}: {what}\n{self.tails()}")
        assert isinstance(found, Status)
        return found

    def prove(self, sent: int) -> Report:
        """Stop the workers and require exactly once, by plain counting and by the program's own verification."""
        for worker in self._workers:
            if worker.running:
                assert worker.stop() == 0, self.tails()
        assert sum(ends(self.connection, self.topics.requests).values()) == sent
        letters = require_exactly_once(self.connection, self.topics)
        reading = read(self.connection, self.topics, SchemaStore(()))
        decisions = judge_again(self.connection, self.topics, SchemaStore(()))
        report = verify(reading.recorded, reading.spans, reading.unread, decisions)
        assert report.sound, (decisions, [finding for finding in report.findings if finding.count])
        assert (report.requests, report.audits + report.unrouted) == (sent, sent)
        assert report.routed + report.unrouted == letters
        digests = report.digests
        assert digests.verified > 0, digests
        assert digests.without + digests.removed + digests.served_again == 0, digests
        return report

    def tails(self, lines: int = 12) -> str:
        """The last words of every worker, for a failure's message."""
        return "\n".join(
            f"-- {worker.slot}, exits {worker.exits}\n" + "\n".join(worker.log.read_text().splitlines()[-lines:])
            for worker in self._workers
            if worker.log.exists()
        )

    def close(self) -> None:
        """End what still runs."""
        self._statuses.close()
        for worker in self._workers:
            worker.kill()
