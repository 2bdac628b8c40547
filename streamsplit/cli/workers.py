"""`run`: a worker, or several below one parent."""

from typing import Annotated

import typer

from streamsplit.cli.environment import environment
from streamsplit.cli.options import example

verbs = typer.Typer()


@verbs.command("run", epilog=example("streamsplit run", "streamsplit -c prod.yaml run --workers 4"))
def run(
    ctx: typer.Context,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-n", min=1, help="A parent that restarts N workers, with slots SLOT-0 to SLOT-(N-1)."
        ),
    ] = None,
) -> None:
    """Serve requests until stopped by SIGTERM or Ctrl-C; the open batch is finished first."""
    # Faust and ONNX Runtime take a second to import: only the verb that needs them pays for it.
    from streamsplit.service.app import run_worker  # noqa: PLC0415 # as above
    from streamsplit.service.parent import run_workers  # noqa: PLC0415 # as above

    settings = environment(ctx).settings
    raise typer.Exit(run_worker(settings) if workers is None else run_workers(settings, workers))
