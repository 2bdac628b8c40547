"""The command `streamsplit`: all verbs, and the options before the verb."""

import logging
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from streamsplit.cli import (
    benching,
    configuration,
    development,
    doctor,
    linting,
    models,
    recalling,
    rollouts,
    topics,
    verification,
    views,
    workers,
)
from streamsplit.cli.environment import Environment
from streamsplit.cli.exits import Guarded
from streamsplit.cli.options import example

app = typer.Typer(
    name="streamsplit",
    cls=Guarded,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("streamsplit dev", "streamsplit apply -f rollout.yaml --wait", "streamsplit set weight canary=25"),
)
for verbs in (
    development.verbs,
    workers.verbs,
    rollouts.verbs,
    views.verbs,
    recalling.verbs,
    linting.verbs,
    verification.verbs,
    topics.verbs,
    models.verbs,
    configuration.verbs,
    doctor.verbs,
    benching.verbs,
):
    app.add_typer(verbs)


def _print_version(wanted: bool | None) -> None:  # noqa: FBT001 # the signature of a Typer callback
    if wanted:
        typer.echo(f"streamsplit {installed_version('streamsplit')}")
        raise typer.Exit


@app.callback()
def streamsplit(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings; else STREAMSPLIT_CONFIG, else ./streamsplit.yaml.")
    ] = None,
    _version: Annotated[
        bool | None,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = None,
) -> None:
    """Put a new ONNX model in front of a growing share of live Kafka traffic, and take it back.

    Exit codes: 0 done, 1 the answer is no, 2 wrong use.
    """
    # What goes wrong is said once, by the verb; `run` sets up a log of its own.
    logging.getLogger("streamsplit").addHandler(logging.NullHandler())
    ctx.obj = Environment(config)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
