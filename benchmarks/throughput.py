"""Requests a second and CPU time of a request, of one worker beside the pass-through, repetition by repetition."""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.ground import PARTITIONS, application, deployment, fill, make, process, remove, workers
from benchmarks.pass_through import Pass
from benchmarks.recorded import Written, written
from benchmarks.ruler import Ruler, Stretch
from streamsplit.core.commands import Kind
from streamsplit.kafka.clients import Connection

SOURCE = "bench-flights"
WARM_UP = 0.2
"""Share of the backlog that is left out: the candidate is loaded while the first requests are served."""

END = 0.98
"""Share of the backlog at which it stops to count: the last batches are not full."""

STREAMSPLIT, PASS_THROUGH = "StreamSplit", "pass-through"


@dataclass(frozen=True, slots=True)
class Run:
    """One repetition.

    Attributes:
        subject: `STREAMSPLIT` or `PASS_THROUGH`.
        batch: Most records in a batch.
        stretch: What was measured.
        written: What it wrote meanwhile; None for the pass-through, which writes as it is told.
    """

    subject: str
    batch: int
    stretch: Stretch
    written: Written | None = None


def measure(
    connection: Connection, requests: int, repetitions: int, batches: Sequence[int], tell: Callable[[str], None]
) -> tuple[Run, ...]:
    """Every batch size, worker and pass-through in turn, so often; each in a deployment of its own.

    Args:
        connection: The brokers.
        requests: Length of the backlog.
        repetitions: Of each.
        batches: Settings of `batch.records`.
        tell: Told what comes and what came out.
    """
    tell(f"writing {requests} flights")
    fill(connection, SOURCE, requests)
    runs: list[Run] = []
    for number in range(repetitions):
        for batch in batches:
            runs.append(_worker(connection, f"bench-{number}-{batch}", requests, batch))
            tell(_line(runs[-1]))
            size = runs[-1].written
            assert size is not None
            runs.append(_pass_through(connection, f"pass-{number}-{batch}", requests, batch, size))
            tell(_line(runs[-1]))
    remove(connection, SOURCE)
    return tuple(runs)


def _line(run: Run) -> str:
    return (
        f"{run.subject}, batches of {run.batch}: {run.stretch.rate:,.0f} requests/s, {run.stretch.cpu_micros:.1f} µs "
        "of CPU a request"
    )


def _worker(connection: Connection, name: str, requests: int, batch: int) -> Run:
    with deployment(connection, name, {"batch": {"records": batch}}, SOURCE) as mine:
        revision = mine.command(Kind.APPLY, application())
        mine.command(Kind.BEGIN, apply_revision=revision)
        ruler = Ruler(connection, f"{name}.requests", SOURCE)
        with workers(mine) as started:
            stretch = ruler.measure(started, int(WARM_UP * requests), int(END * requests))
        return Run(STREAMSPLIT, batch, stretch, written(connection, mine.topics, stretch))


def _pass_through(connection: Connection, name: str, requests: int, batch: int, size: Written) -> Run:
    plan = Pass(
        connection.brokers,
        SOURCE,
        name,
        batch,
        output_bytes=round(size.output_bytes),
        audit_bytes=round(size.audit_bytes),
        summary_bytes=round(size.summary_bytes),
    )
    make(connection, {f"{name}.outputs": PARTITIONS, f"{name}.audit": PARTITIONS, f"{name}.summaries": 1})
    arguments = ["-m", "benchmarks.pass_through", json.dumps(asdict(plan))]
    ruler = Ruler(connection, name, SOURCE)
    try:
        with tempfile.TemporaryDirectory() as folder, process(arguments, Path(folder) / "log") as started:
            stretch = ruler.measure(started, int(WARM_UP * requests), int(END * requests))
    finally:
        remove(connection, f"{name}.")
    return Run(PASS_THROUGH, batch, stretch)
