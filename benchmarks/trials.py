"""One repetition of one row: a system works off a backlog in topics of its own, and what that came to."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from benchmarks.backlog import Backlog
from benchmarks.ground import Deployment, deployment, make, remove
from benchmarks.loads import WEIGHT_PERCENT
from benchmarks.pass_through import Pass
from benchmarks.peers import Peer, Plan
from benchmarks.processes import process, python, workers
from benchmarks.readiness import not_here, not_prepared, not_sharing, wait_for
from benchmarks.recorded import Written, written
from benchmarks.ruler import Ruler, Span, Stretch
from benchmarks.stages import SUMMARY, Watch
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.service.settings import BatchSettings

DEFAULT_BATCH = BatchSettings().records
DEFAULT_SPAN = Span()
_FULL_BATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """The conditions of a repetition.

    Attributes:
        name: Of its deployment or consumer group.
        backlog: What is worked off.
        batch: Most requests in a transaction.
        span: Which part is measured.
        workers: How many processes of StreamSplit.
        candidates: Arms beside control.
        mirror: Whether 20 % are mirrored.
        release: Lets workers see a backlog that is held back until every arm is warm and all of them have partitions;
            None where it is there to begin with.
    """

    name: str
    backlog: Backlog
    batch: int = DEFAULT_BATCH
    span: Span = DEFAULT_SPAN
    workers: int = 1
    candidates: int = 1
    mirror: bool = False
    release: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a repetition came to.

    Attributes:
        stretch: What was measured.
        written: What it wrote; None for those who write as they are told.
        stages: `cpu:<stage>` → CPU µs a request, where they are counted.
    """

    stretch: Stretch
    written: Written | None = None
    stages: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def figures(self) -> dict[str, float]:
        """As a row has them."""
        found = {"rate": self.stretch.rate, "cpu_micros": self.stretch.cpu_micros, **self.stages}
        if SUMMARY in self.stages:
            found["summary_share"] = self.stages[SUMMARY] / self.stretch.cpu_micros
        if self.written is not None:
            found["mean_batch"] = self.written.batch
        return found


def streamsplit(connection: Connection, trial: Trial) -> Result:
    """Let workers of StreamSplit work off a backlog.

    Nothing is applied before all of them have started, so that they join the group together; the stretch does not
    begin before every arm is warm and all of them have partitions.

    Raises:
        ServiceError: A worker failed, or some requests were not answered by their own arm.
        UsageError: This version does not take the rollout.
    """
    backlog = trial.backlog
    application = backlog.load.application(candidates=trial.candidates, mirror=trial.mirror)
    with deployment(
        connection,
        trial.name,
        backlog.load,
        requests=backlog.topic,
        partitions=backlog.partitions,
        settings={"batch": {"records": trial.batch}},
    ) as mine:
        stretch, stages = _measured(mine, trial, application)
        return Result(stretch, written(connection, mine.topics, stretch), stages)


def _measured(mine: Deployment, trial: Trial, application: Mapping[str, object]) -> tuple[Stretch, dict[str, float]]:
    ruler = Ruler.of(mine.connection, mine.group, trial.backlog)
    with (
        closing(StatusReader(mine.connection, mine.topics.workers)) as reader,
        workers(mine.settings, trial.workers) as started,
    ):
        wait_for(reader, started, lambda: not_here(reader, trial.workers))
        revision = mine.begin(application)

        def ready() -> bool:
            return not (not_prepared(reader, revision, mine.partitions) or not_sharing(reader, trial.workers))

        if trial.release is not None:
            wait_for(reader, started, lambda: () if ready() else ("some are not warm, or have no partitions",))
            trial.release()
        watch = Watch(reader)
        stretch = ruler.measure(started, trial.backlog.count, trial.span, ready=ready, meanwhile=watch.poll)
        return stretch, watch.stages(stretch)


def pass_through(
    connection: Connection, trial: Trial, size: Written, *, headers: bool = False, tight: bool = False
) -> Result:
    """Let the pass-through work off a backlog, writing as much as a worker did.

    Raises:
        ServiceError: It failed.
    """
    plan = pass_plan(connection, trial.backlog.topic, trial.name, size, batch=trial.batch)
    plan = replace(plan, headers=headers, tight=tight)
    return _told(connection, trial, python("benchmarks.pass_through", plan.text()))


def pass_plan(
    connection: Connection,
    source: str,
    targets: str,
    size: Written,
    *,
    batch: int,
    fill_seconds: float = _FULL_BATCH_SECONDS,
) -> Pass:
    """What the pass-through is told."""
    return Pass(
        connection.brokers,
        source,
        targets,
        batch,
        output_bytes=round(size.output_bytes),
        audit_bytes=round(size.audit_bytes),
        summary_bytes=round(size.summary_bytes),
        fill_seconds=fill_seconds,
    )


def peer(connection: Connection, trial: Trial, size: Written, who: Peer) -> Result:
    """Let a peer work off a backlog, under the conditions of all others.

    Raises:
        ServiceError: It failed.
    """
    load = trial.backlog.load
    with tempfile.TemporaryDirectory(prefix="streamsplit-bench-") as folder:
        plan = Plan(
            connection.brokers,
            trial.backlog.topic,
            trial.name,
            trial.batch,
            models=(str(load.onnx(load.control)), str(load.onnx(load.candidate))),
            kind=load.name,
            salt=load.rollout,
            weight_percent=WEIGHT_PERCENT,
            output_bytes=size.output_bytes,
            audit_bytes=size.audit_bytes,
            folder=folder,
        )
        return _told(connection, trial, who.command(plan))


def _told(connection: Connection, trial: Trial, command: Sequence[str]) -> Result:
    """A system that is told on its command line where to write."""
    backlog = trial.backlog
    as_requests = dict.fromkeys((f"{trial.name}.outputs", f"{trial.name}.audit"), backlog.partitions)
    make(connection, {**as_requests, f"{trial.name}.summaries": 1})
    ruler = Ruler.of(connection, trial.name, backlog)
    try:
        with process(command) as started:
            return Result(ruler.measure(started, backlog.count, trial.span))
    finally:
        remove(connection, trial.name)
