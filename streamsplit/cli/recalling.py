"""The verbs that look back: `history` and `explain`."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from streamsplit.cli import chronicle_view
from streamsplit.cli.chronicle import caused_id, chronicle, command_id
from streamsplit.cli.console import printable, say, screen, show, show_json
from streamsplit.cli.decision_view import render
from streamsplit.cli.environment import Environment, environment
from streamsplit.cli.exits import refuse
from streamsplit.cli.figures import as_json
from streamsplit.cli.forecast_view import alphas_json
from streamsplit.cli.options import Format, Output, example
from streamsplit.core.decision import Decision
from streamsplit.core.errors import UsageError
from streamsplit.core.judging.risk import told
from streamsplit.offline.decisions import DecisionLog
from streamsplit.offline.history import Entry, read_history
from streamsplit.wire.decisions import decision_record

_COMPARED = 10_000
"""Ids that a wrong one is compared with."""

verbs = typer.Typer()


@verbs.command(
    "history", epilog=example("streamsplit history", "streamsplit history --decisions", "streamsplit history -o json")
)
def history(
    ctx: typer.Context,
    *,
    decisions: Annotated[bool, typer.Option("--decisions", help="Every decision of the judge as well.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List every command that was ever given, by whom and why, what came of it, and the decision that caused it."""
    here = environment(ctx)
    entries = read_history(here.connection, here.topics.control)
    log = decision_log(here)
    rows = chronicle(entries, tuple(log.newest_first())[::-1] if decisions else ())
    if output is Format.JSON:
        show_json(rows)
    else:
        show(chronicle_view.render(rows, screen().width))
    _tell_unreadable(log, here)
    if not entries:
        say("No command was given yet.")


@verbs.command(
    "explain",
    epilog=example(
        "streamsplit explain",
        "streamsplit explain 4f0c12ab34cd",
        "streamsplit explain --latest 3",
        "streamsplit explain -o json | jq '.[0].evidence'",
    ),
)
def explain(
    ctx: typer.Context,
    *,
    decision: Annotated[
        str | None,
        typer.Argument(
            metavar="DECISION", help="Its id, that of its command, or how one begins; the latest unless given."
        ),
    ] = None,
    latest: Annotated[int | None, typer.Option("--latest", min=1, help="The latest so many, the newest last.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show a decision of the judge: why, what each guard saw and needed, the windows behind it, what it caused.

    Exit 1 when nothing was decided yet.
    """
    if decision is not None and latest is not None:
        raise UsageError("explain takes the id of a decision or --latest, not both")
    here = environment(ctx)
    log = decision_log(here)
    found = log.latest(latest or 1) if decision is None else pick(log.newest_first(), decision)
    entries = read_history(here.connection, here.topics.control) if found else ()
    if output is Format.JSON:
        show_json([explained(each, entries) for each in found])
    for place, each in enumerate(found) if output is Format.TABLE else ():
        show(*([""] if place else []), *render(each, _answer(each, entries), _steps(each, entries)))
    _tell_unreadable(log, here)
    if not found:
        refuse(
            f"No decision yet in {here.topics.decisions}: the judge writes one at every closed window of a rollout "
            "that is under way (see `streamsplit get`)."
        )


def decision_log(here: Environment) -> DecisionLog:
    """The deployment's decisions."""
    return DecisionLog(here.connection, here.topics.decisions, here.schemas)


def pick(newest_first: Iterable[Decision], wanted: str) -> tuple[Decision, ...]:
    """The decision with this id, or the only one whose id begins so; empty where nothing was decided yet.

    The id of the command that it caused is one of its names, too.

    Raises:
        UsageError: None is called so, or several are; the nearest are named.
    """
    kinds: dict[str, str] = {}
    found: dict[str, Decision] = {}
    for each in newest_first:
        names = {each.decision_id, caused_id(each) or each.decision_id}
        if wanted in names:
            return (each,)
        kinds.setdefault(each.decision_id, each.kind)
        if any(name.startswith(wanted) for name in names):
            found.setdefault(each.decision_id, each)
    if len(found) == 1:
        return tuple(found.values())
    if not kinds:
        return ()
    near = list(found)[:3] or [max(list(kinds)[:_COMPARED], key=lambda name: _alike(wanted, name))]
    named = ", ".join(f"{printable(each)} ({kinds[each]})" for each in near)
    if found:
        raise UsageError(f"{len(found)} decisions begin with {wanted!r}; write more of the id: {named}")
    raise UsageError(
        f"there is no decision {wanted!r}; the nearest is {named}. `streamsplit history --decisions` lists them all"
    )


def _alike(wanted: str, name: str) -> float:
    """How much a name begins like what was typed."""
    return difflib.SequenceMatcher(None, wanted, name[: len(wanted)]).ratio()


def explained(decision: Decision, entries: Sequence[Entry]) -> dict[str, Any]:
    """All of a decision as plain values, named as in `schemas/decision.avsc`, with what came of its command.

    And with the chances that guards are ever wrong about a healthy rollout, at most, and their sum (`alphas`).
    """
    record = decision_record(decision)
    entry = _answer(decision, entries)
    record["effect"]["revision"] = entry.offset if entry is not None and entry.refusal is None else None
    record["effect"]["refusal"] = entry.refusal if entry is not None else None
    record["alphas"] = alphas_json(told(decision.readings))
    return {name: _finite(value) for name, value in record.items()}


def _finite(value: Any) -> Any:
    """With every number as JSON can hold it."""
    if isinstance(value, float):
        return as_json(value)
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


def _answer(decision: Decision, entries: Sequence[Entry]) -> Entry | None:
    """What came of the command that a decision caused; None where the log does not hold it."""
    caused = caused_id(decision)
    return next((entry for entry in entries if caused is not None and command_id(entry) == caused), None)


def _steps(decision: Decision, entries: Sequence[Entry]) -> int:
    """How many steps the rollout has that a decision is about; 0 when not known."""
    states = (entry.state for entry in entries if entry.offset == decision.revision and entry.refusal is None)
    return next((len(state.rollout.steps) for state in states if state.rollout is not None), 0)


def _tell_unreadable(log: DecisionLog, here: Environment) -> None:
    if not log.unreadable:
        return
    first, *others = log.unreadable
    more = f", and {len(others)} more" if others else ""
    say(f"{here.topics.decisions}: the record at offset {first.offset} is left out ({first.reason}){more}.")
