"""The verbs that look at what is: `get`, `status`."""

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table

from streamsplit.cli.console import plain_table, say, screen, show, show_json, show_json_line
from streamsplit.cli.development import stop_signals
from streamsplit.cli.environment import environment
from streamsplit.cli.exits import NO
from streamsplit.cli.following import present, wait_until
from streamsplit.cli.latest_decision import LatestDecision
from streamsplit.cli.options import Format, Output, Timeout, example
from streamsplit.cli.tree import picture, rollout_tree, total_lag
from streamsplit.core.status import Status
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.offline.decisions import DecisionLog

_LISTEN_SECONDS = 2.5
"""Workers speak once a second: after this every living one was heard."""

_REFRESH_SECONDS = 0.5

verbs = typer.Typer()


@verbs.command(
    "get", epilog=example("streamsplit get", "streamsplit get --watch", "streamsplit get -o json | jq .phase")
)
def get(
    ctx: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Draw it again as it changes, until Ctrl-C.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show the rollout: phase, steps, the weights that are set beside those that are reached, and the workers."""
    here = environment(ctx)
    judged = LatestDecision(DecisionLog(here.connection, here.topics.decisions, here.schemas).newest_first)
    with here.control() as control, closing(StatusReader(here.connection, here.topics.workers)) as reader:
        reader.listen(_LISTEN_SECONDS)
        if watch:
            _watch(here.settings.deployment, control, reader, judged, output)
            return
        state, statuses = control.view.state, reader.alive()
    decision = judged.of(state)
    if output is Format.JSON:
        show_json(picture(here.settings.deployment, state, statuses, decision))
    else:
        show(rollout_tree(here.settings.deployment, state, statuses, decision))
    if judged.problem is not None:
        say(f"Decisions are not shown: {judged.problem}")


def _watch(
    deployment: str, control: ControlFollower, reader: StatusReader, judged: LatestDecision, output: Format
) -> None:
    with stop_signals() as stop:
        if output is Format.JSON:
            while not stop.is_set():
                state = control.view.state
                show_json_line(picture(deployment, state, reader.alive(), judged.of(state)))
                reader.poll(_REFRESH_SECONDS)
            return
        with Live(console=screen(), auto_refresh=False) as live:
            while not stop.is_set():
                state = control.view.state
                live.update(rollout_tree(deployment, state, reader.alive(), judged.of(state)), refresh=True)
                reader.poll(_REFRESH_SECONDS)


@verbs.command("status", epilog=example("streamsplit status", "streamsplit status --wait --timeout 120"))
def status(
    ctx: typer.Context,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when every worker is ready at the newest revision; else exit 1.")
    ] = False,
    timeout: Timeout = 60.0,
    output: Output = Format.TABLE,
) -> None:
    """Show the workers, what each does, and why one is not ready. Exit 1 when one is not, or there is none."""
    here = environment(ctx)
    with here.control() as control, closing(StatusReader(here.connection, here.topics.workers)) as reader:
        if wait:
            wait_until(reader, lambda since: unconverged(reader, control.view.state.revision, since), timeout)
        reader.listen(_LISTEN_SECONDS)
        state = control.view.state
        statuses = reader.alive()
        gone = sorted(slot for slot in reader.latest if slot not in statuses)
    if output is Format.JSON:
        show_json({"revision": state.revision, "workers": [one.to_dict() for one in statuses.values()], "gone": gone})
    else:
        show(_workers(statuses))
    if gone:
        say(f"No longer heard: {', '.join(gone)}")
    for sentence in disagreements(statuses):
        say(sentence)
    if not statuses:
        say("No worker has reported within the last 5 s: start one with `streamsplit run`.")
    if not statuses or not all(one.ready for one in statuses.values()) or disagreements(statuses):
        raise typer.Exit(NO)


def unconverged(reader: StatusReader, revision: int, since: float) -> tuple[str, ...]:
    """What keeps the workers from being ready at one revision; empty when nothing does."""
    living, silent = present(reader.latest, now=time.monotonic(), since=since)
    reasons = [f"{slot}: has not been heard yet" for slot in silent]
    for slot, one in living.items():
        if not one.ready:
            reasons.append(f"{slot}: not ready: {'; '.join(one.reasons)}")
        elif one.revision < revision:
            reasons.append(f"{slot}: still at revision {one.revision}")
    if not living and not silent:
        reasons.append("no worker has reported")
    return tuple(reasons)


def disagreements(statuses: Mapping[str, Status]) -> tuple[str, ...]:
    """Workers that folded the same log to different states: an alarm."""
    digests: dict[int, dict[str, list[str]]] = {}
    for slot, one in statuses.items():
        digests.setdefault(one.revision, {}).setdefault(one.digest, []).append(slot)
    return tuple(
        f"ALARM: workers disagree about the state at revision {revision}: "
        + " against ".join(", ".join(slots) for slots in by_digest.values())
        for revision, by_digest in sorted(digests.items())
        if len(by_digest) > 1
    )


def _workers(statuses: Mapping[str, Status]) -> Table:
    table = plain_table(
        "slot", "ready", "revision", "phase", "partitions", "lag", "requests/s", "mirrored/s", "arms", "reasons"
    )
    for slot, one in sorted(statuses.items()):
        held = [f"partition {number} waits: {why}" for number, why in sorted(one.waiting.items())]
        table.add_row(
            slot,
            "yes" if one.ready else "no",
            str(one.revision),
            one.phase,
            " ".join(map(str, sorted(one.reading))),
            total_lag(one),
            f"{one.rates.get('requests', 0.0):.0f}",
            f"{sum(one.mirrored.values()):.0f}",
            " ".join(f"{arm.name}:{arm.phase}" for arm in one.arms),
            "; ".join([*one.reasons, *held]),
            style=None if one.ready else "yellow",
        )
    return table
