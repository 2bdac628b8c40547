"""The verbs that change what serves: each is one command on the control log."""

from typing import Annotated

import typer

from streamsplit.cli.applying import Application
from streamsplit.cli.commanding import Commander, refuse
from streamsplit.cli.console import say
from streamsplit.cli.environment import environment
from streamsplit.cli.linting import RolloutFile
from streamsplit.cli.options import Format, Output, Reason, Timeout, Wait, example
from streamsplit.core.commands import Kind, Refusal
from streamsplit.core.errors import UsageError
from streamsplit.core.fold import next_command
from streamsplit.core.rollout import Phase

verbs = typer.Typer()
_set = typer.Typer(
    help="Set a value of the rollout that is under way.",
    no_args_is_help=True,
    epilog=example("streamsplit set weight canary=25 --wait"),
)
verbs.add_typer(_set, name="set")


@verbs.command(
    "apply",
    epilog=example(
        "streamsplit apply -f rollout.yaml",
        "streamsplit apply -f rollout.yaml --wait --timeout 120",
        "streamsplit apply -f rollout.yaml --retry --reason 'the feature store is back'",
    ),
)
def apply(
    ctx: typer.Context,
    *,
    file: RolloutFile,
    retry: Annotated[bool, typer.Option("--retry", help="Try a file again that was rolled back.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Abort the rollout that is under way first.")] = False,
    reason: Reason = "",
    wait: Wait = False,
    timeout: Timeout = 60.0,
    output: Output = Format.TABLE,
) -> None:
    """Hand a rollout file to the workers: they load, vet and warm its models, and begin when all are ready.

    The bytes of the models are pinned: a worker that has others says so instead of serving them. The same file again
    is "unchanged", exit 0. With --wait: until it has begun everywhere.
    """
    here = environment(ctx)
    application = Application.read(file, here.settings.models)
    with Commander.open(here, reason) as commander:
        before = application.preview(commander.state, retry=retry)
        if before is not None and before.unchanged:
            say("unchanged: this very file is in force.")
        else:
            if replace and commander.state.phase.active:
                commander.submit(Kind.ABORT)
            commander.submit(Kind.APPLY, application.payload(retry=retry), rollout=application.name)
        if wait:
            commander.wait_begun(timeout)
        commander.report(output)


@_set.command("weight", epilog=example("streamsplit set weight canary=25", "streamsplit set weight canary=0.5 --wait"))
def set_weight(
    ctx: typer.Context,
    *,
    weights: Annotated[list[str], typer.Argument(metavar="ARM=PERCENT...", help="Candidates; control gets the rest.")],
    reason: Reason = "",
    wait: Wait = False,
    timeout: Timeout = 30.0,
    output: Output = Format.TABLE,
) -> None:
    """Set the share of candidates on the default route; the ramp pauses there until `resume`."""
    wanted = dict(_pair(text) for text in weights)
    with Commander.open(environment(ctx), reason) as commander:
        commander.submit(Kind.SET_WEIGHT, {"weights": wanted})
        _finish(commander, timeout if wait else None, output)


def _pair(text: str) -> tuple[str, str]:
    name, equals, share = text.partition("=")
    if not (name and equals and share):
        raise UsageError(f"{text!r} is no weight; expected ARM=PERCENT, such as canary=25")
    return name, share


@verbs.command("promote", epilog=example("streamsplit promote", "streamsplit promote --full --wait"))
def promote(
    ctx: typer.Context,
    *,
    full: Annotated[bool, typer.Option("--full", help="Make the candidate the new control now.")] = False,
    arm: Annotated[str | None, typer.Option("--arm", help="Which candidate, where there are several.")] = None,
    reason: Reason = "",
    wait: Wait = False,
    timeout: Timeout = 30.0,
    output: Output = Format.TABLE,
) -> None:
    """Go to the next step; at the last one, or with --full, the candidate becomes the new control."""
    with Commander.open(environment(ctx), reason) as commander:
        kind = next_command(commander.state, full=full)
        if kind is Kind.BEGIN and full:
            commander.submit(kind)
            # A file with control alone has nothing to promote once it serves.
            kind = Kind.BEGIN if commander.state.phase is Phase.SERVING else next_command(commander.state, full=full)
        if isinstance(kind, Refusal):
            refuse(kind)
        if commander.state.phase is not Phase.SERVING:
            commander.submit(kind, {"arm": arm} if arm is not None and kind is Kind.PROMOTE else {})
        _finish(commander, timeout if wait else None, output)


@verbs.command("pause", epilog=example("streamsplit pause --reason 'looking at the errors'"))
def pause(
    ctx: typer.Context,
    *,
    reason: Reason = "",
    wait: Wait = False,
    timeout: Timeout = 30.0,
    output: Output = Format.TABLE,
) -> None:
    """Keep the present weights until `resume` or `promote`."""
    with Commander.open(environment(ctx), reason) as commander:
        commander.submit(Kind.PAUSE)
        _finish(commander, timeout if wait else None, output)


@verbs.command("resume", epilog=example("streamsplit resume"))
def resume(
    ctx: typer.Context,
    *,
    reason: Reason = "",
    wait: Wait = False,
    timeout: Timeout = 30.0,
    output: Output = Format.TABLE,
) -> None:
    """Go on with the ramp, behind weights set by hand with the first step above them."""
    with Commander.open(environment(ctx), reason) as commander:
        commander.submit(Kind.RESUME)
        _finish(commander, timeout if wait else None, output)


@verbs.command("abort", epilog=example("streamsplit abort --wait --reason 'wrong features'"))
def abort(
    ctx: typer.Context,
    *,
    reason: Reason = "",
    wait: Wait = False,
    timeout: Timeout = 30.0,
    output: Output = Format.TABLE,
) -> None:
    """Give everything back to control; after a promotion, to the control before."""
    with Commander.open(environment(ctx), reason) as commander:
        commander.submit(Kind.ABORT)
        _finish(commander, timeout if wait else None, output)


@verbs.command("accept-loss", epilog=example("streamsplit accept-loss 3 --to 12000 --reason 'retention was too short'"))
def accept_loss(
    ctx: typer.Context,
    *,
    partition: Annotated[int, typer.Argument(min=0, help="Partition of the requests topic.")],
    to: Annotated[int, typer.Option("--to", min=0, help="Offset to go on at.", show_default=False)],
    reason: Reason = "",
    wait: Wait = False,
    timeout: Timeout = 30.0,
    output: Output = Format.TABLE,
) -> None:
    """Go on behind requests that retention removed before they were read. They are reported as lost for ever."""
    with Commander.open(environment(ctx), reason) as commander:
        commander.submit(Kind.ACCEPT_LOSS, {"partition": partition, "to": to})
        _finish(commander, timeout if wait else None, output)


def _finish(commander: Commander, waiting: float | None, output: Format) -> None:
    """Wait for the workers where that is asked for (`waiting`: seconds), and say what it came to."""
    if waiting is not None:
        commander.wait_followed(waiting)
    commander.report(output)
