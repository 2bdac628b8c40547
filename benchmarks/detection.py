"""How soon the judge takes a failing candidate back, told from audit and control log.

The clock starts with the `processed_time` of the first request that the candidate failed: taken when its batch is
answered, before anybody can read of it. It stops with the timestamp of the abort's record on the control log, set when
the record is handed to the producer: there `benchmarks/convergence.py` begins, so that nothing lies between the two.

The fleet begins each rollout once its candidate is warm on all workers, so that the first failures fall into the window
that is left out of comparisons. Twice for each candidate: as rollouts are by default, where a limit on the share of
errors acts, and without it, where only the comparison with control can.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.convergence import WORKERS, traffic
from benchmarks.failing import FAILING, failing
from benchmarks.ground import PARTITIONS, Deployment, deployment
from benchmarks.processes import Process, workers
from benchmarks.readiness import not_flowing, not_prepared, not_sharing, wait_for
from benchmarks.rows import Ledger, Row, durations
from streamsplit.core.commands import Command, Kind
from streamsplit.core.errors import ServiceError
from streamsplit.core.judge_commands import ACTOR
from streamsplit.core.records import Outcome
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.control_log import ControlWriter
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.offline.fields import Fields
from streamsplit.offline.history import read_history
from streamsplit.offline.ranges import extents, read_range
from streamsplit.wire.schemas import SchemaStore

WINDOWS: Mapping[str, object] = {"window": "1s", "grace": "1s"}
FOUND_BY: Mapping[str, Mapping[str, object]] = {"limit": {}, "comparison": {"errors": {"limit": "none"}}}
"""What finds it → guards of the rollout."""

_SILENT_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_AFTER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Way:
    """A kind of rollout.

    Attributes:
        fails: What the candidate fails, one of `FAILING`.
        found_by: One of `FOUND_BY`.
    """

    fails: str
    found_by: str


WAYS = tuple(Way(fails, found_by) for fails in FAILING for found_by in FOUND_BY)


@dataclass(frozen=True, slots=True)
class Detection:
    """One rollout that was taken back.

    Attributes:
        way: Its kind.
        milliseconds: From the first failed request to the abort.
    """

    way: Way
    milliseconds: int


def measure(
    connection: Connection, folder: Path, *, rollouts: int, rate: int, tell: Callable[[str], None]
) -> tuple[Row, ...]:
    """Begin so many rollouts of each kind, and wait until the judge has taken each of them back.

    Args:
        connection: The brokers.
        folder: Where models are written.
        rollouts: Of each kind.
        rate: Requests a second.
        tell: Told how far it is.

    Raises:
        ServiceError: One was not taken back within a minute, or not by the judge.
    """
    with deployment(connection, "bench-detection", failing(folder)) as mine:
        with (
            closing(StatusReader(connection, mine.topics.workers)) as reader,
            workers(mine.settings, WORKERS) as parent,
            traffic(mine, rate),
            ControlFollower(connection, mine.topics.control) as follower,
        ):
            reader.read_to_end()
            writer, begun = mine.writer(), dict[int, Way]()
            _warm_control(mine, writer, reader, parent)
            for _ in range(rollouts):
                for way in WAYS:
                    applied = writer.write(mine.command(Kind.APPLY, _application(mine, way)))
                    begun[applied] = way
                    _await_end(follower, applied)
                    wait_for(reader, parent, lambda: not_flowing(reader, PARTITIONS))
                tell(f"rollouts taken back: {len(begun)} of {rollouts * len(WAYS)}")
            time.sleep(_AFTER_SECONDS)  # what was served under the last one is to be in the audit
        return rows(_read(mine, begun))


def _application(of: Deployment, way: Way) -> Mapping[str, object]:
    load = replace(of.load, candidate=FAILING[way.fails])
    return load.application(judge=WINDOWS, guards=FOUND_BY[way.found_by], retry=True)


def _warm_control(mine: Deployment, writer: ControlWriter, reader: StatusReader, parent: Process) -> None:
    revision = mine.begin(mine.load.application(candidates=0), writer)
    wait_for(
        reader,
        parent,
        lambda: (
            not_prepared(reader, revision, PARTITIONS)
            or not_sharing(reader, WORKERS)
            or not_flowing(reader, PARTITIONS)
        ),
    )


def _await_end(follower: ControlFollower, applied: int) -> None:
    deadline = time.monotonic() + _SILENT_SECONDS
    while (view := follower.view).position <= applied or view.state.phase.active:
        if time.monotonic() > deadline:
            raise ServiceError(f"the rollout applied at {applied} was not taken back within {_SILENT_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)


def _read(of: Deployment, begun: Mapping[int, Way]) -> list[Detection]:
    """From the first failed request of each rollout to the abort behind it.

    Args:
        of: The deployment.
        begun: Offset of the apply → the rollout's kind.

    Raises:
        ServiceError: Nothing failed, or something else than the judge took the rollout back.
    """
    history = read_history(of.connection, of.topics.control)
    entries = [entry for entry in history if entry.refusal is None and not entry.repeated]
    first = _first_failures(of)
    found = []
    for applied, way in begun.items():
        revision = next(entry.offset for entry in entries if entry.offset > applied)
        abort = next(entry for entry in entries if entry.offset > revision)
        command = abort.command
        if not isinstance(command, Command) or (command.kind, command.actor) != (Kind.ABORT, ACTOR):
            raise ServiceError(f"expected the judge to take the rollout of revision {revision} back, found {command}")
        if revision not in first:
            raise ServiceError(f"no request failed under revision {revision}: the audit knows of none")
        found.append(Detection(way, abort.timestamp_ms - first[revision]))
    return found


def _first_failures(of: Deployment) -> dict[int, int]:
    """Revision → `processed_time` of the first request that its candidate failed."""
    fields = Fields(SchemaStore(), "audit", ("revision", "processed_time", "outcome"))
    first: dict[int, int] = {}
    for chunk in read_range(of.connection, of.topics.audit, extents(of.connection, of.topics.audit)):
        for message in chunk:
            record = fields.read(message.value())
            if record is not None and record["outcome"] == Outcome.FALLBACK_ERROR.label:
                revision, processed = record["revision"], record["processed_time"]
                first[revision] = min(processed, first.get(revision, processed))
    return first


def rows(found: list[Detection]) -> tuple[Row, ...]:
    """One for each kind."""
    ledger = Ledger("detection")
    for way in WAYS:
        values = np.array([each.milliseconds for each in found if each.way == way], np.int64)
        if len(values):
            ledger.add({"fails": way.fails, "found by": way.found_by}, durations(values))
    return ledger.rows()
