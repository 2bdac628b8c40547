"""`dev` and `dev broker`: everything on this machine, gone when it ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from streamsplit.cli.console import say, show
from streamsplit.cli.environment import environment
from streamsplit.cli.exits import DONE, refuse
from streamsplit.cli.options import example
from streamsplit.kafka.broker import DevelopmentCluster

_LOOK_SECONDS = 0.5

verbs = typer.Typer()
_dev = typer.Typer(epilog=example("streamsplit dev", "streamsplit dev --rate 1000", "streamsplit dev broker"))
verbs.add_typer(_dev, name="dev")

Nodes = Annotated[int, typer.Option("--nodes", min=1, max=5, help="Brokers; from 3 on topics have three replicas.")]


@_dev.callback(invoke_without_command=True)
def dev(
    ctx: typer.Context,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Requests a second.")] = 200.0,
) -> None:
    """Run all of it here until Ctrl-C: a broker, topics, the models folder's first model, traffic and a worker."""
    if ctx.invoked_subcommand is None:
        # The whole worker comes along: only this verb pays for the imports.
        from streamsplit.cli.playground import play  # noqa: PLC0415 # as above

        with stop_signals() as stop:
            play(environment(ctx).config, rate, stop)


@_dev.command("broker", epilog=example("streamsplit dev broker", "streamsplit dev broker --nodes 3"))
def broker(nodes: Nodes = 1) -> None:
    """Run a real Apache Kafka on the loopback interface until Ctrl-C; its data is gone with it.

    Prints its address when it is ready.
    """
    with stop_signals() as stop, DevelopmentCluster(nodes) as cluster:
        show(cluster.bootstrap)
        say(f"Kafka is ready. In another terminal: export STREAMSPLIT_BROKERS={cluster.bootstrap}")
        while not stop.wait(_LOOK_SECONDS):
            if gone := [node for node in cluster.nodes if not node.running]:
                refuse(f"the development broker ended:\n{gone[0].tail()}")
    raise typer.Exit(DONE)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that what was started is stopped in order."""
    stop = threading.Event()

    def note(_number: int, _frame: Any) -> None:
        stop.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
