"""How costs grow: with workers, partitions, arms, batches and the size of tensors."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.backlog import Backlogs, held
from benchmarks.ground import PARTITIONS
from benchmarks.loads import Load
from benchmarks.rows import PASS_THROUGH, Ledger, Row
from benchmarks.ruler import Span
from benchmarks.trials import DEFAULT_BATCH, Result, Trial, pass_through, streamsplit
from benchmarks.wide import wide
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection

_WIDE_BYTES = 1_200_000_000
_MOST_WIDE = 300_000
_AGAIN = {("workers", 1), ("workers", 2), ("workers", 4), ("partitions", PARTITIONS), ("partitions", 64)}
"""Places that have goals are measured as often as throughput; the others once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        load: The records, but for the sizes of tensors.
        requests: Length of each backlog.
        repetitions: Of the places that have goals.
        span: Which part of a backlog is measured.
        workers: Numbers of worker processes.
        partitions: Numbers of partitions.
        arms: Numbers of arms, control included.
        batches: Most requests in a transaction.
        tensors: Bytes of a tensor.
    """

    load: Load
    requests: int
    repetitions: int
    span: Span
    workers: Sequence[int] = (1, 2, 4)
    partitions: Sequence[int] = (4, 16, 64)
    arms: Sequence[int] = (1, 2, 3, 4)
    batches: Sequence[int] = (250, 1000, 4000, 16000)
    tensors: Sequence[int] = (1_000, 16_000, 128_000, 600_000)


@dataclass(frozen=True, slots=True)
class _Point:
    """One condition, and every place on an axis that it is."""

    places: tuple[tuple[str, int], ...]
    trial: Trial


def measure(
    connection: Connection, backlogs: Backlogs, plan: Plan, tell: Callable[[str], None]
) -> tuple[tuple[Row, ...], dict[str, str]]:
    """Every condition in turn; those that have goals so often.

    Args:
        connection: The brokers.
        backlogs: What is worked off.
        plan: What is measured.
        tell: Told what came out.

    Returns:
        The rows, and for each condition that failed why.
    """
    ledger, failed = Ledger("scale"), {}
    for number in range(plan.repetitions):
        for point in _points(backlogs, plan):
            places = [place for place in point.places if number == 0 or place in _AGAIN]
            if not places:
                continue
            what = " and ".join(f"{axis} {at}" for axis, at in places)
            try:
                result = _run(connection, replace(point.trial, name=f"{point.trial.name}-{number}"))
            except ServiceError as error:
                failed[what] = f"failed: {error}"
                tell(f"{what}: {error}")
                continue
            for axis, at in places:
                ledger.add({"axis": axis, "at": at}, _figures(result))
            tell(f"{what}: {_line(result)}")
    for size in plan.tensors:
        try:
            _tensor(connection, plan, size, ledger, tell)
        except ServiceError as error:
            failed[f"tensors of {size} bytes"] = f"failed: {error}"
            tell(f"tensors of {size} bytes: {error}")
    return ledger.rows(), failed


def _line(result: Result) -> str:
    return f"{result.stretch.rate:,.0f} requests/s, {result.stretch.cpu_micros:.1f} µs of CPU a request"


def _figures(result: Result) -> dict[str, float]:
    figures = result.figures()
    if (written := result.written) is not None:
        figures["summary_bytes"] = written.summary_bytes
        figures["summary_bytes_request"] = written.summary_bytes / written.batch
    return figures


def _points(backlogs: Backlogs, plan: Plan) -> Iterator[_Point]:
    """The plain condition first: one worker, 4 partitions, two arms, batches as they are by default."""
    base = backlogs.of(plan.load, plan.requests)
    plain = Trial("scale", base, span=plan.span)
    yield _Point((("workers", 1), ("partitions", PARTITIONS), ("arms", 2), ("batch", DEFAULT_BATCH)), plain)
    for count in plan.workers:
        if count != 1:
            yield _Point((("workers", count),), replace(plain, name=f"scale-w{count}", workers=count))
    for count in plan.partitions:
        if count != PARTITIONS:
            backlog = backlogs.of(plan.load, plan.requests, partitions=count)
            yield _Point((("partitions", count),), replace(plain, name=f"scale-p{count}", backlog=backlog))
    for count in plan.arms:
        if count != 2:
            yield _Point((("arms", count),), replace(plain, name=f"scale-a{count}", candidates=count - 1))
    for count in plan.batches:
        if count != DEFAULT_BATCH:
            yield _Point((("batch", count),), replace(plain, name=f"scale-b{count}", batch=count))


def _run(connection: Connection, trial: Trial) -> Result:
    """A repetition. Several workers get a backlog of their own, shown to them once they have shared its partitions.

    Raises:
        ServiceError: It failed.
    """
    if trial.workers == 1:
        return streamsplit(connection, trial)
    with held(connection, f"bench-{trial.name}", trial.backlog.load, trial.backlog.count) as (backlog, release):
        return streamsplit(connection, replace(trial, backlog=backlog, release=release))


def _tensor(connection: Connection, plan: Plan, size: int, ledger: Ledger, tell: Callable[[str], None]) -> None:
    """One size of tensors, and the pass-through with batches as large as the worker's came out.

    Raises:
        ServiceError: One of them failed.
    """
    count, name = min(_MOST_WIDE, plan.requests, _WIDE_BYTES // size), f"scale-t{size}"
    span = replace(plan.span, warm_seconds=0.0)  # these backlogs are short
    with tempfile.TemporaryDirectory(prefix="streamsplit-bench-") as folder:
        load = wide(Path(folder), size)
        # A few thousand requests would be served before the candidate is warm.
        with held(connection, f"bench-{name}", load, count) as (backlog, release):
            trial = Trial(name, backlog, span=span, release=release)
            result = streamsplit(connection, trial)
            assert result.written is not None
            limit = replace(trial, name=f"{name}-pass", batch=max(1, round(result.written.batch)))
            passed = pass_through(connection, limit, result.written)
    ledger.add({"axis": "tensor bytes", "at": size}, _figures(result))
    ledger.add({"axis": f"{PASS_THROUGH}, tensor bytes", "at": size}, _figures(passed))
    tell(f"tensors of {size} bytes: {_line(result)}")
