"""From a request to its output at a read-committed consumer, at a tenth of what a worker can do.

StreamSplit and a pass-through in turn, every other time in the opposite order. The pass-through closes its batches as a
worker does by its settings: after so many requests, or so long after the first; so it commits at the same interval.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from confluent_kafka import Message

from benchmarks.arrivals import Arrivals, delays
from benchmarks.ground import PARTITIONS, deployment, make, remove
from benchmarks.loads import Load
from benchmarks.processes import Process, process, python, workers
from benchmarks.readiness import not_prepared, not_sharing, wait_for
from benchmarks.recorded import Written, written
from benchmarks.rows import PASS_THROUGH, STREAMSPLIT, Ledger, Row
from benchmarks.ruler import Stretch
from benchmarks.sender import Sending, sent
from benchmarks.trials import pass_plan
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.offline.ranges import extents, read_range
from streamsplit.service.settings import BatchSettings

_FIRST_SECONDS = 60.0
_LAST_SECONDS = 30.0
_FIRST_RUN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        load: What is sent: flights.
        rate: Requests a second.
        repetitions: Of each subject.
        warm_seconds: Left out, from the first output on.
        seconds: Measured.
    """

    load: Load
    rate: float
    repetitions: int
    warm_seconds: float = 4.0
    seconds: float = 12.0


@dataclass(frozen=True, slots=True)
class _Clocked:
    """Delays in milliseconds, and the stretch of time their requests are from."""

    delays: np.ndarray[tuple[int], np.dtype[np.float64]]
    stretch: Stretch


def measure(connection: Connection, plan: Plan, tell: Callable[[str], None]) -> tuple[Row, ...]:
    """StreamSplit and the pass-through in turn, so often.

    Args:
        connection: The brokers.
        plan: What is measured.
        tell: Told what came out.

    Raises:
        ServiceError: One of them failed.
    """
    ledger = Ledger("latency")
    # Whoever comes first pays for brokers that still compile what they do: a run of which only the sizes are kept.
    _, size = _streamsplit(connection, "latency-first", replace(plan, seconds=_FIRST_RUN_SECONDS))

    def streamsplit(number: int) -> None:
        figures, _ = _streamsplit(connection, f"latency-{number}", plan)
        ledger.add({"subject": STREAMSPLIT, "load": plan.load.name}, figures)
        tell(_line(STREAMSPLIT, figures))

    def pass_through(number: int) -> None:
        figures = _pass_through(connection, f"latency-pass-{number}", plan, size)
        ledger.add({"subject": PASS_THROUGH, "load": plan.load.name}, figures)
        tell(_line(PASS_THROUGH, figures))

    turns = (streamsplit, pass_through)
    for number in range(plan.repetitions):
        for turn in turns if number % 2 == 0 else reversed(turns):
            turn(number)
    return ledger.rows()


def _line(subject: str, figures: dict[str, float]) -> str:
    return f"{subject} at {figures['rate']:,.0f}/s: p50 {figures['p50_ms']:.1f} ms, p99 {figures['p99_ms']:.1f} ms"


def _streamsplit(connection: Connection, name: str, plan: Plan) -> tuple[dict[str, float], Written]:
    with deployment(connection, name, plan.load) as mine:
        with (
            closing(StatusReader(connection, mine.topics.workers)) as reader,
            workers(mine.settings) as started,
        ):
            revision = mine.begin(plan.load.application())
            wait_for(reader, started, lambda: not_prepared(reader, revision, mine.partitions) or not_sharing(reader, 1))
            clocked = _clocked(connection, mine.topics.requests, mine.topics.outputs, plan, started)
        size = written(connection, mine.topics, clocked.stretch)
        return _figures(connection, mine.topics.summaries, clocked), size


def _pass_through(connection: Connection, name: str, plan: Plan, size: Written) -> dict[str, float]:
    words = ("requests", "outputs", "audit")
    make(connection, {**{f"{name}.{word}": PARTITIONS for word in words}, f"{name}.summaries": 1})
    like = BatchSettings()
    told = pass_plan(connection, f"{name}.requests", name, size, batch=like.records, fill_seconds=like.wait)
    try:
        with process(python("benchmarks.pass_through", told.text())) as started:
            clocked = _clocked(connection, f"{name}.requests", f"{name}.outputs", plan, started)
        return _figures(connection, f"{name}.summaries", clocked)
    finally:
        remove(connection, f"{name}.")


def _clocked(connection: Connection, source: str, outputs: str, plan: Plan, subject: Process) -> _Clocked:
    """Send, listen, and tell how long each request took.

    Raises:
        ServiceError: The subject ended, or an output is missing.
    """
    with (
        closing(Arrivals(connection, outputs, PARTITIONS)) as arrivals,
        tempfile.TemporaryDirectory(prefix="streamsplit-bench-") as folder,
    ):
        times = Path(folder) / "times.npz"
        with _sender(Sending(connection.brokers, source, PARTITIONS, plan.rate, str(times))):
            if not arrivals.listen(_FIRST_SECONDS, lambda: arrivals.count > 0 or subject.poll() is not None):
                raise ServiceError(f"no output came within {_FIRST_SECONDS:.0f} s")
            arrivals.listen(plan.warm_seconds)
            begin = time.time_ns()
            arrivals.listen(plan.seconds)
            end = time.time_ns()
        requests = sent(times)
        arrivals.listen(_LAST_SECONDS, lambda: arrivals.count >= sum(map(len, requests)))
        found = delays(requests, arrivals.times, begin, end)
    seconds = (end - begin) / 1e9
    return _Clocked(found, Stretch(len(found), seconds, 0.0, begin // 1_000_000, end // 1_000_000))


@contextmanager
def _sender(sending: Sending) -> Iterator[None]:
    with process(python("benchmarks.sender", sending.text())):
        yield


def _figures(connection: Connection, summaries: str, clocked: _Clocked) -> dict[str, float]:
    p50, p99 = np.quantile(clocked.delays, (0.5, 0.99), method="inverted_cdf")
    stretch = clocked.stretch
    commits = sum(
        stretch.from_ms <= _written_ms(message) < stretch.to_ms
        for chunk in read_range(connection, summaries, extents(connection, summaries))
        for message in chunk
    )
    return {
        "rate": stretch.rate,
        "commit_ms": 1000 * stretch.seconds / max(1, commits),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "max_ms": float(clocked.delays.max()),
    }


def _written_ms(message: Message) -> int:
    """When a record was handed to the client, milliseconds since the epoch: there is one summary a transaction."""
    return message.timestamp()[1]
