"""A run: its measurements in order, each with what it needs from those before it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median

from confluent_kafka import KafkaException

from benchmarks import convergence, detection, digits, judging, latency, memory, scale, throughput
from benchmarks.backlog import Backlogs
from benchmarks.loads import Load, all_guards, flights
from benchmarks.peers import PEERS, Peer
from benchmarks.rows import STREAMSPLIT, Row, find
from benchmarks.ruler import Span
from benchmarks.trials import Trial, streamsplit
from streamsplit.core.errors import ServiceError, UsageError
from streamsplit.kafka.clients import Connection

_TENTH = 0.1


class Bench:
    """Measures, and collects what came out and what did not.

    Args:
        connection: The brokers.
        folder: Where models are written that are made here.
        chosen: The command line.
        tell: Told how far it is.

    Attributes:
        rows: What was measured.
        left_out: Row or measurement → why it is missing.
        failed: Whether something that should have been measured was not.
    """

    def __init__(
        self, connection: Connection, folder: Path, chosen: argparse.Namespace, tell: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._chosen = chosen
        self._tell = tell
        self._backlogs = Backlogs(connection, tell)
        self._flights = flights()
        self._span = Span(warm_seconds=chosen.warm_seconds)
        self.rows: list[Row] = []
        self.left_out: dict[str, str] = {}
        self.failed = False

    def measure(self, source: str) -> None:
        """Carry out one of the measurements; a failure is noted, and the others can go on."""
        measurements = {
            "throughput": self._throughput,
            "latency": self._latency,
            "convergence": self._convergence,
            "detection": self._detection,
            "judging": self._judging,
            "scale": self._scale,
            "memory": self._memory,
        }
        try:
            measurements[source]()
        except (ServiceError, KafkaException) as error:
            self.failed = True
            self.left_out[source] = f"failed: {error}"
            self._tell(f"{source}: {error}")

    def _throughput(self) -> None:
        chosen = self._chosen
        plan = throughput.Plan(
            [self._load(name) for name in chosen.loads],
            chosen.requests,
            chosen.repetitions,
            chosen.batches,
            self._span,
            self._peers(),
        )
        measured = throughput.measure(self._connection, self._backlogs, plan, self._tell)
        self.rows += measured.rows
        self.left_out.update(measured.left_out)
        self.failed |= any(reason.startswith("failed") for reason in measured.left_out.values())

    def _latency(self) -> None:
        chosen = self._chosen
        rate = chosen.rate or _TENTH * self._top_rate()
        plan = latency.Plan(self._flights, rate, chosen.repetitions, chosen.warm_seconds, chosen.latency_seconds)
        self.rows += latency.measure(self._connection, plan, self._tell)

    def _top_rate(self) -> float:
        """What a worker does at most: as measured before, or now."""
        case = {"subject": STREAMSPLIT, "load": self._flights.name, "batch": self._chosen.batches[0]}
        if (row := find(self.rows, "throughput", case)) is not None:
            return median(row.figures["rate"])
        self._tell("measuring what a worker does at most")
        backlog = self._backlogs.of(self._flights, self._chosen.requests)
        trial = Trial("bench-top", backlog, self._chosen.batches[0], self._span)
        return streamsplit(self._connection, trial).stretch.rate

    def _convergence(self) -> None:
        chosen = self._chosen
        found = convergence.measure(
            self._connection, changes=chosen.changes, aborts=chosen.aborts, rate=chosen.turning_rate, tell=self._tell
        )
        self.rows += convergence.rows(found)

    def _detection(self) -> None:
        chosen = self._chosen
        self.rows += detection.measure(
            self._connection, self._folder, rollouts=chosen.rollouts, rate=chosen.turning_rate, tell=self._tell
        )

    def _judging(self) -> None:
        self.rows += judging.measure(self._chosen.repetitions, self._tell, self._chosen.windows)

    def _scale(self) -> None:
        chosen = self._chosen
        plan = scale.Plan(
            self._flights,
            chosen.requests,
            chosen.repetitions,
            self._span,
            workers=chosen.workers,
            partitions=chosen.partitions,
            arms=chosen.arms,
            batches=chosen.scale_batches,
            tensors=chosen.tensors,
        )
        rows, failed = scale.measure(self._connection, self._backlogs, plan, self._tell)
        self.rows += rows
        self.left_out.update(failed)
        self.failed |= bool(failed)

    def _memory(self) -> None:
        self.rows += memory.measure(self._connection, self._flights, self._chosen.memory_requests, self._tell)

    def _load(self, name: str) -> Load:
        if name == self._flights.name:
            return self._flights
        if name != digits.NAME:
            raise UsageError(f"--loads {name}: expected {self._flights.name} or {digits.NAME}")
        digits.write_models(self._folder)
        return Load(
            digits.NAME,
            self._folder,
            digits.CONTROL,
            digits.CANDIDATE,
            lambda most: [(request.key, request.value or b"") for request in digits.digit_requests(most)],
            guards=all_guards("probabilities", 0),
        )

    def _peers(self) -> list[Peer]:
        """The peers that were asked for and are there; the others are noted with the reason.

        Raises:
            UsageError: One that was asked for is not known.
        """
        wanted = self._chosen.peers
        names = [peer.name for peer in PEERS]
        if unknown := sorted(set(wanted or ()) - set(names)):
            raise UsageError(f"--peers {unknown[0]}: expected some of {', '.join(names)}")
        found: list[Peer] = []
        for peer in PEERS:
            if wanted is None or (wanted and peer.name not in wanted):
                self.left_out[peer.title] = f"not asked for (--peers {peer.name})"
            elif (reason := peer.available()) is not None:
                self.left_out[peer.title] = reason
            elif self._prepared(peer):
                found.append(peer)
        return found

    def _prepared(self, peer: Peer) -> bool:
        try:
            peer.prepare(self._tell)
        except ServiceError as error:
            self.left_out[peer.title] = f"{error}"
            return False
        return True
