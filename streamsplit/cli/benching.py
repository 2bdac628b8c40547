"""`bench`: one worker on a development broker, and where its CPU time goes."""

import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import typer

from streamsplit.cli.commanding import Commander
from streamsplit.cli.console import plain_table, say, show, show_json
from streamsplit.cli.environment import Environment, environment
from streamsplit.cli.local_worker import first_model, local_worker
from streamsplit.cli.options import Format, Output, example
from streamsplit.cli.traffic import golden_requests
from streamsplit.core.commands import Kind
from streamsplit.core.errors import ServiceError
from streamsplit.core.status import Status
from streamsplit.inference.manifest import Manifest
from streamsplit.inference.repository import Repository
from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.kafka.topic_creation import create_topics

verbs = typer.Typer()

_ARMS = ("control", "canary")
_DIFFERENT = 20_000
_FIRST, _LAST = 0.3, 0.95
"""Share of the backlog between which is measured: behind the loading of models, before the last batches."""

_STALL_SECONDS = 60.0
_TAIL_LINES = 15
_CPU = "cpu:"


@dataclass(frozen=True, slots=True)
class Moment:
    """What a worker has done so far.

    Attributes:
        at: Monotonic seconds.
        status: Its own words.
        client: CPU seconds of the Kafka client's threads.
        models: Arm → CPU seconds of its process.
        process: CPU seconds of the worker itself, with the client's threads.
    """

    at: float
    status: Status
    client: float
    models: Mapping[str, float]
    process: float

    @classmethod
    def now(cls, status: Status, pid: int) -> "Moment":
        """The moment of a status that has just come."""
        threads = {task: _comm(task) for task in Path(f"/proc/{pid}/task").iterdir()}
        client = sum(_cpu_seconds(task) for task, comm in threads.items() if comm.startswith("rdk:"))
        models = {arm.name: _cpu_seconds(Path(f"/proc/{arm.pid}")) for arm in status.arms if arm.pid is not None}
        return cls(time.monotonic(), status, client, models, _cpu_seconds(Path(f"/proc/{pid}")))


@verbs.command("bench", epilog=example("streamsplit bench", "streamsplit bench --stages --batch 1000"))
def bench(
    ctx: typer.Context,
    *,
    requests: Annotated[int, typer.Option("--requests", min=100_000, help="Length of the backlog.")] = 1_000_000,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Most records in a batch.")] = None,
    control: Annotated[str | None, typer.Option("--control", help="NAME@VERSION; else the folder's first.")] = None,
    canary: Annotated[str | None, typer.Option("--canary", help="NAME@VERSION that gets 10 %; else nobody.")] = None,
    stages: Annotated[bool, typer.Option("--stages", help="Also where the CPU time goes.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Measure one worker here: a development broker, a backlog of the model's golden records, the models folder."""
    config = environment(ctx).config
    models = Environment(config).settings.models
    repository = Repository(models)
    arms = [repository.manifest(control) if control else first_model(models)]
    arms += [repository.manifest(canary)] if canary else []
    with DevelopmentCluster() as cluster, TemporaryFile() as log:
        # Whatever deployment the settings name: this one lives on brokers of its own.
        os.environ.update(STREAMSPLIT_BROKERS=cluster.bootstrap, STREAMSPLIT_DEVELOPMENT="true")
        if batch is not None:
            os.environ["STREAMSPLIT_BATCH__RECORDS"] = str(batch)
        here = Environment(config)
        create_topics(here.connection, here.topics)
        say(f"writing {requests} requests")
        _fill(here, arms[0], requests)
        _apply(here, arms)
        with local_worker(config, {"STREAMSPLIT_START": "earliest", "STREAMSPLIT_HEALTH": "null"}, log) as worker:
            say("serving them")
            try:
                first, last = _measure(here, worker, requests)
            except ServiceError as error:
                log.seek(0)
                said = log.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
                raise ServiceError("\n".join([str(error), *said])) from None
    _report(first, last, stages=stages, output=output)


def _fill(here: Environment, manifest: Manifest, count: int) -> None:
    some = list(islice(golden_requests(manifest), _DIFFERENT))
    producer = here.connection.producer("streamsplit-bench", linger_ms=5)
    for key, value in islice(cycle(some), count):
        while True:
            try:
                producer.produce(here.topics.requests, value, key)
                break
            except BufferError:
                producer.poll(0.1)
    if left := producer.flush(_STALL_SECONDS):
        raise ServiceError(f"{left} requests could not be written")


def _apply(here: Environment, arms: list[Manifest]) -> None:
    labels = dict(zip(_ARMS, (manifest.label for manifest in arms), strict=False))
    spec: dict[str, object] = {"rollout": "bench", "arms": labels}
    if len(arms) > 1:
        spec["steps"] = [{"weight": 10}, {"weight": 100}]
    models = {manifest.label: manifest.sha256 for manifest in arms}
    with Commander.open(here, "streamsplit bench") as commander:
        commander.submit(Kind.APPLY, {"spec": spec, "models": models}, rollout="bench")
        if len(arms) > 1:
            commander.submit(Kind.BEGIN)


def _measure(here: Environment, worker: subprocess.Popen[bytes], requests: int) -> tuple[Moment, Moment]:
    """Two moments between which it served under load, all arms warm.

    Raises:
        ServiceError: It ended, came to a halt, or was through before its models were loaded.
    """
    first: Moment | None = None
    done, moved = -1, time.monotonic()
    with closing(StatusReader(here.connection, here.topics.workers)) as reader:
        while True:
            for status in reader.poll():
                served = status.totals.get("requests", 0)
                if served > done:
                    done, moved = served, time.monotonic()
                if first is None and served >= _FIRST * requests and status.prepared:
                    first = Moment.now(status, worker.pid)
                elif first is not None and served >= _LAST * requests:
                    return first, Moment.now(status, worker.pid)
                elif first is None and served >= _LAST * requests:
                    raise ServiceError("all was served before every model was loaded; take more --requests")
            if worker.poll() is not None:
                raise ServiceError(f"the worker ended with exit code {worker.returncode}:")
            if time.monotonic() > moved + _STALL_SECONDS:
                raise ServiceError(f"nothing was served for {_STALL_SECONDS:.0f} s:")


def _report(first: Moment, last: Moment, *, stages: bool, output: Format) -> None:
    before, after = first.status.totals, last.status.totals
    requests = after["requests"] - before["requests"]
    models = {f"model of {name}": last.models[name] - first.models.get(name, 0.0) for name in last.models}
    own = {
        name.removeprefix(_CPU): (after[name] - before.get(name, 0)) / 1e6 for name in after if name.startswith(_CPU)
    }
    client, process = last.client - first.client, last.process - first.process
    parts = {
        **own,
        "the client's own threads": client,
        "event loop and the rest": max(0.0, process - client - sum(own.values())),
        **models,
    }
    figures = {
        "requests": requests,
        "requests_per_second": round(requests / (last.at - first.at)),
        "cpu_micros_per_request": round((process + sum(models.values())) / requests * 1e6, 2),
        "requests_per_batch": round(requests / max(1, after["batches"] - before["batches"])),
    }
    micros = {name: round(seconds / requests * 1e6, 2) for name, seconds in parts.items()}
    if output is Format.JSON:
        show_json({**figures, **({"stages": micros} if stages else {})})
        return
    show(
        f"{figures['requests_per_second']:,} requests/s, {figures['cpu_micros_per_request']} µs of CPU a request, "
        f"{figures['requests_per_batch']:,} requests a batch"
    )
    if stages:
        table = plain_table("stage", "µs a request")
        for name, value in micros.items():
            table.add_row(name, f"{value:.2f}")
        show("", table)


def _cpu_seconds(task: Path) -> float:
    """User and system time of a process or thread; 0 once it has ended."""
    try:
        fields = (task / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _comm(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:
        return ""
