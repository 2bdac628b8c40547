"""The control log as rows of plain values, with the decisions that caused its commands."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streamsplit.cli.decision_view import caused
from streamsplit.cli.tree import weights_text
from streamsplit.core.commands import Command
from streamsplit.core.decision import Decision
from streamsplit.core.judge_commands import ACTOR, command_of
from streamsplit.core.quantities import moment_text
from streamsplit.offline.history import Entry


def chronicle(entries: Sequence[Entry], decisions: Iterable[Decision] = ()) -> list[dict[str, Any]]:
    """Commands in their order, those of the judge with what `explain` takes for the decision behind them.

    Args:
        entries: The control log.
        decisions: In their order; each is a row of its own, before the first command that it had not read.
    """
    answers = {name: entry for entry in reversed(entries) if (name := command_id(entry)) is not None}
    rows = [((entry.offset, 1), _command_row(entry)) for entry in entries]
    rows += [((each.control_to, 0), _decision_row(each, answers.get(caused_id(each) or ""))) for each in decisions]
    return [row for _, row in sorted(rows, key=lambda keyed: keyed[0])]


def command_id(entry: Entry) -> str | None:
    """The id of a record's command; None where it is none."""
    return entry.command.command_id if isinstance(entry.command, Command) else None


def caused_id(decision: Decision) -> str | None:
    """The id of the command that a decision caused; None where it caused none that this version knows."""
    try:
        command = command_of(decision)
    except ValueError:
        return None
    return command.command_id if command is not None else None


def _decision_row(decision: Decision, answer: Entry | None) -> dict[str, Any]:
    return {
        "revision": decision.revision,
        "time": moment_text(decision.log_time),
        "rollout": decision.rollout,
        "command": f"decision: {decision.kind}",
        "kind": "decision",
        "payload": None,
        "accepted": answer is None or answer.refusal is None,
        "result": caused(decision, answer),
        "split": None,
        "actor": ACTOR,
        "reason": decision.reasons[0] if decision.reasons else "",
        "decision": decision.decision_id,
    }


def _command_row(entry: Entry) -> dict[str, Any]:
    command = entry.command if isinstance(entry.command, Command) else None
    result = f"refused: {entry.refusal}" if entry.refusal else "repeated" if entry.repeated else str(entry.state.phase)
    payload = command.payload if command else None
    shown = payload if command and command.kind != "apply" else None
    return {
        "revision": entry.offset,
        "time": moment_text(entry.timestamp_ms),
        "rollout": command.rollout if command else None,
        "command": _words(command) if command else "not a command",
        "kind": str(command.kind) if command else None,
        "payload": shown if isinstance(shown, str) or shown is None else dict(shown),
        "accepted": entry.refusal is None,
        "result": result,
        "split": weights_text(entry.state) if entry.refusal is None and entry.state.splitting else None,
        "actor": command.actor if command else None,
        "reason": command.reason if command else None,
        "decision": command.command_id if command and command.actor == ACTOR else None,
    }


def _words(command: Command) -> str:
    """The command as a person would type it."""
    payload = command.payload if isinstance(command.payload, Mapping) else {}
    weights = payload.get("weights")
    if isinstance(weights, Mapping):
        return f"set weight {' '.join(f'{arm}={share}' for arm, share in weights.items())}"
    if "partition" in payload:
        return f"accept-loss {payload['partition']} --to {payload.get('to')}"
    return str(command.kind)
