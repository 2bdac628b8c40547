"""How long after a command the last worker serves by it, told from the audit of every request.

The clock starts with the timestamp of the command's record on the control log. The audit of each partition is in the
order of its requests, and revisions never fall within it, so that each command cuts each partition in two. Of a command

- `old` ends with the `processed_time` of the last request of any partition that was served under an older revision;
- `new` ends when every partition has had its first request under the command's revision, or a newer one;
- `candidate`, which is told of aborts, ends with the last request that was assigned to the candidate before another
  rollout began.

`new` is never less than `old`; it has the wait for the next request of the slowest partition in it. All processes share
one clock.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.ground import PARTITIONS, Deployment, deployment
from benchmarks.loads import flights
from benchmarks.processes import process, python, workers
from benchmarks.readiness import not_flowing, not_prepared, not_sharing, wait_for
from benchmarks.rows import Ledger, Row, durations
from streamsplit.core.commands import Kind
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_log import ControlWriter
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.offline.fields import Fields
from streamsplit.offline.history import read_history
from streamsplit.offline.ranges import extents, place_of, read_range
from streamsplit.wire.schemas import SchemaStore

WORKERS = 2
_NAMES = {Kind.SET_WEIGHT: "weight change", Kind.ABORT: "abort"}
_SIDES = {"old_ms": "last request the old way", "new_ms": "in force on every partition"}
_ENDS = {Kind.SET_WEIGHT: _SIDES, Kind.ABORT: {"candidate_ms": "last request of the candidate", **_SIDES}}
"""Kind of a command → what is told of it; behind a change of the weight the candidate serves on."""

_WEIGHTS = (25, 50, 75, 10)
_APART_SECONDS = (0.2, 0.5)
_AFTER_SECONDS = 1.0
_TOLD = 25


@dataclass(frozen=True, slots=True)
class Cut:
    """What a command did to the partitions.

    Attributes:
        old_ms: Command to the end of the last request under an older revision; 0 where none ended after it.
        new_ms: Command to the end of the first request under this or a newer revision on the last partition.
        candidate_ms: Command to the end of the last request of a candidate under this or an older revision; 0 where
            none ended after it.
    """

    old_ms: int
    new_ms: int
    candidate_ms: int


@dataclass(frozen=True, slots=True)
class Convergence:
    """The cuts of one kind of command.

    Attributes:
        kind: `set_weight` or `abort`.
        cuts: In the order of the commands.
    """

    kind: Kind
    cuts: tuple[Cut, ...]

    def column(self, name: str) -> NDArray[np.int64]:
        """One of the ends of all cuts, int64 (n,)."""
        return np.array([getattr(cut, name) for cut in self.cuts], np.int64)


@dataclass(frozen=True, slots=True)
class Trail:
    """The audit of one partition.

    Attributes:
        revisions: int64 (n,), in the order of the log.
        times: int64 (n,), `processed_time` in milliseconds since the epoch.
        candidates: bool (n,), whether it was assigned to a candidate.
    """

    revisions: NDArray[np.int64]
    times: NDArray[np.int64]
    candidates: NDArray[np.bool_]


def cut(issued_ms: int, revision: int, trails: Sequence[Trail]) -> Cut:
    """What a command did.

    Args:
        issued_ms: Timestamp of its record.
        revision: Its offset.
        trails: Of all partitions.

    Raises:
        ServiceError: A partition went back to an older revision, or never came to this one.
    """
    old, new, candidate = 0, 0, 0
    for trail in trails:
        if (np.diff(trail.revisions) < 0).any():
            raise ServiceError("a partition went back to an older revision: `streamsplit verify` says where")
        first = int(np.searchsorted(trail.revisions, revision))
        if first == len(trail.revisions):
            raise ServiceError(f"a partition had no request behind revision {revision}: let the traffic be denser")
        old = max(old, int(trail.times[first - 1]) - issued_ms if first else 0)
        new = max(new, int(trail.times[first]) - issued_ms)
        theirs = np.flatnonzero(trail.candidates[: np.searchsorted(trail.revisions, revision, "right")])
        candidate = max(candidate, int(trail.times[theirs[-1]]) - issued_ms if len(theirs) else 0)
    return Cut(old, new, candidate)


def measure(
    connection: Connection, *, changes: int, aborts: int, rate: int, tell: Callable[[str], None]
) -> tuple[Convergence, ...]:
    """Turn the weight so often, then abort so often, under steady traffic.

    Args:
        connection: The brokers.
        changes: Changes of the weight.
        aborts: Aborts, each of a rollout whose candidate is warm on all workers and serves.
        rate: Requests a second.
        tell: Told how far it is.
    """
    with deployment(connection, "bench-turns", flights()) as mine:
        with (
            closing(StatusReader(connection, mine.topics.workers)) as reader,
            workers(mine.settings, WORKERS) as parent,
            traffic(mine, rate),
        ):
            reader.read_to_end()
            writer, chance = mine.writer(), random.Random(1)

            def missing(revision: int) -> Sequence[str]:
                return (
                    not_prepared(reader, revision, PARTITIONS)
                    or not_sharing(reader, WORKERS)
                    or not_flowing(reader, PARTITIONS)
                )

            def warm(revision: int) -> None:
                wait_for(reader, parent, lambda: missing(revision))
                time.sleep(chance.uniform(*_APART_SECONDS))

            def followed(revision: int) -> None:
                wait_for(reader, parent, lambda: not_prepared(reader, revision, PARTITIONS))

            turns = _Turns(mine, writer, warm, followed, tell)
            issued = {Kind.SET_WEIGHT: turns.change(changes, chance), Kind.ABORT: turns.abort(aborts)}
            time.sleep(_AFTER_SECONDS)  # every partition must have a request behind the last command
        return _read(mine, issued)


@dataclass(frozen=True, slots=True)
class _Turns:
    """Writes commands to a deployment; each gives their offsets.

    Attributes:
        mine: The deployment.
        writer: Of its control log.
        warm: Waits until a revision's arms are warm on all workers and traffic flows.
        followed: Waits until all workers serve under a revision.
        tell: Told how far it is.
    """

    mine: Deployment
    writer: ControlWriter
    warm: Callable[[int], None]
    followed: Callable[[int], None]
    tell: Callable[[str], None]

    def change(self, count: int, chance: random.Random) -> list[int]:
        """Turn the weight so often."""
        if not count:
            return []
        self._begin(retry=False)
        offsets = []
        for number in range(count):
            weight = {"canary": _WEIGHTS[number % len(_WEIGHTS)]}
            offsets.append(self.writer.write(self.mine.command(Kind.SET_WEIGHT, {"weights": weight})))
            _say_now_and_then(self.tell, "weight changes", len(offsets), count)
            time.sleep(chance.uniform(*_APART_SECONDS))
        self.writer.write(self.mine.command(Kind.ABORT))
        return offsets

    def abort(self, count: int) -> list[int]:
        """Abort so often; the next models are not loaded before all have followed."""
        offsets: list[int] = []
        for _ in range(count):
            self._begin(retry=True)
            offsets.append(self.writer.write(self.mine.command(Kind.ABORT)))
            self.followed(offsets[-1])
            _say_now_and_then(self.tell, "aborts", len(offsets), count)
        return offsets

    def _begin(self, *, retry: bool) -> None:
        """Apply the rollout, let its candidate serve, and wait until it is warm on all workers and traffic flows."""
        self.warm(self.mine.begin(self.mine.load.application(retry=retry), self.writer))


def _say_now_and_then(tell: Callable[[str], None], what: str, done: int, of: int) -> None:
    if done % _TOLD == 0 or done == of:
        tell(f"{what}: {done} of {of}")


@contextmanager
def traffic(of: Deployment, rate: int) -> Iterator[None]:
    """Flights at a steady rate from a process of their own."""
    where = ["--brokers", of.connection.brokers, "--topic", of.topics.requests]
    with process(python("examples.flights", *where, "--rate", f"{rate}")):
        yield


def _read(of: Deployment, issued: Mapping[Kind, Sequence[int]]) -> tuple[Convergence, ...]:
    """The cuts of these commands.

    Raises:
        ServiceError: One of them was refused, or its cut cannot be told.
    """
    entries = {entry.offset: entry for entry in read_history(of.connection, of.topics.control)}
    trails = _trails(of)
    found = []
    for kind, offsets in issued.items():
        for entry in (entries[offset] for offset in offsets):
            if entry.refusal is not None:
                raise ServiceError(f"{kind} at offset {entry.offset} was refused: {entry.refusal}")
        cuts = tuple(cut(entries[offset].timestamp_ms, offset, trails) for offset in offsets)
        found.append(Convergence(kind, cuts))
    return tuple(each for each in found if each.cuts)


def _trails(of: Deployment) -> list[Trail]:
    """The audit of each partition."""
    fields = Fields(SchemaStore(), "audit", ("revision", "processed_time", "arm"))
    rows: list[list[tuple[int, int, bool]]] = [[] for _ in range(PARTITIONS)]
    topic = of.topics.audit
    for chunk in read_range(of.connection, topic, extents(of.connection, topic)):
        for message in chunk:
            record, (_, partition, _) = fields.read(message.value()), place_of(message)
            if record is None:
                raise ServiceError(f"{topic}: partition {partition} holds a record that is no audit record")
            rows[partition].append((record["revision"], record["processed_time"], record["arm"] != "control"))
    columns = [np.array(each, np.int64).reshape(-1, 3).T for each in rows]
    return [Trail(revisions, times, candidates.astype(bool)) for revisions, times, candidates in columns]


def rows(found: Sequence[Convergence]) -> tuple[Row, ...]:
    """What is told of each kind of command."""
    ledger = Ledger("convergence")
    for each in found:
        for side, until in _ENDS[each.kind].items():
            ledger.add({"command": _NAMES[each.kind], "until": until}, durations(each.column(side)))
    return ledger.rows()
