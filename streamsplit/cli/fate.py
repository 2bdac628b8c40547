"""What became of a rollout, by the control log, for the one who waits for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from streamsplit.cli.console import printable
from streamsplit.core.commands import Command, Kind
from streamsplit.core.judge_commands import ACTOR
from streamsplit.core.rollout import Phase
from streamsplit.offline.history import Entry


@dataclass(frozen=True, slots=True)
class Fate:
    """How a rollout ended.

    Attributes:
        sentence: For a person: when it began, what ended it, by whom and why.
        good: Whether it was promoted.
    """

    sentence: str
    good: bool


def fate(entries: Sequence[Entry], apply_revision: int) -> Fate | None:
    """How a rollout ended, whatever was applied after it; None while it is under way, or serves plainly.

    Args:
        entries: The control log, from its beginning.
        apply_revision: Offset of the rollout's apply.
    """
    own = [
        each
        for each in entries
        if each.state.apply_revision == apply_revision and each.refusal is None and not each.repeated
    ]
    ended = {Phase.PROMOTED, Phase.ROLLED_BACK, Phase.FAILED}
    if not own or own[-1].state.phase not in ended:
        return None
    end = next(each for each in reversed(own) if _kind(each) in {Kind.PROMOTE, Kind.ABORT})
    begun = next((each.offset for each in own if _kind(each) == Kind.BEGIN), None)
    promoted = end.state.phase is Phase.PROMOTED
    what = "was promoted" if promoted else "was rolled back" if begun is not None else "was aborted"
    began = f"began (revision {begun}) and" if begun is not None else "did not begin: it"
    return Fate(f"{end.state.name} {began} {what} by {_by(end)}", promoted)


def _by(end: Entry) -> str:
    command = end.command
    assert isinstance(command, Command)
    text = f"{printable(command.actor) or 'unknown'} (revision {end.offset})"
    text += f": {printable(command.reason)}" if command.reason else ""
    return f"{text}; `streamsplit explain {printable(command.command_id)}`" if command.actor == ACTOR else text


def _kind(entry: Entry) -> str:
    return entry.command.kind if isinstance(entry.command, Command) else ""
