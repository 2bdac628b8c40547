"""The control log from its beginning: what everybody who folds it comes to, command by command."""

from collections.abc import Sequence
from dataclasses import dataclass

from streamsplit.core.commands import Command, Malformed, Refusal
from streamsplit.core.errors import ServiceError
from streamsplit.core.fold import apply
from streamsplit.core.rollout import State
from streamsplit.kafka.clients import Connection
from streamsplit.offline.ranges import extents, place_of, read_range
from streamsplit.wire.commands import decode_command


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the control log.

    Attributes:
        offset: Its place, and the revision it makes if it was accepted.
        timestamp_ms: When it was written, milliseconds since the epoch.
        command: What it says.
        state: The state behind it.
        refusal: Why it changed nothing; None where it was accepted.
        repeated: Whether it repeats a command that was accepted before.
    """

    offset: int
    timestamp_ms: int
    command: Command | Malformed
    state: State
    refusal: str | None
    repeated: bool = False


def read_history(connection: Connection, topic: str) -> tuple[Entry, ...]:
    """Fold the log, keeping what came of each command.

    Raises:
        ServiceError: The topic cannot be read, or its beginning is gone.
    """
    known = extents(connection, topic)
    if known[0].start > 0:
        raise ServiceError(
            f"{topic} begins at offset {known[0].start}: its beginning was removed, so that no state can be derived; "
            "it must be kept for ever (`streamsplit topics check`)"
        )
    entries: list[Entry] = []
    state = State()
    for messages in read_range(connection, topic, {0: known[0]}):
        for message in messages:
            entry = _entry(state, message.value(), place_of(message)[2], message.timestamp()[1])
            state = entry.state
            entries.append(entry)
    return tuple(entries)


def accepted(entries: Sequence[Entry]) -> tuple[dict[int, State], dict[int, str]]:
    """Revision → state and revision → kind of every command that made one."""
    made = [entry for entry in entries if entry.refusal is None and not entry.repeated]
    return (
        {entry.offset: entry.state for entry in made},
        {entry.offset: entry.command.kind for entry in made if isinstance(entry.command, Command)},
    )


def _entry(state: State, value: bytes | None, offset: int, timestamp_ms: int) -> Entry:
    command = decode_command(value, offset=offset, timestamp_ms=timestamp_ms, active_rollout=state.name)
    result = apply(state, offset, command)
    if isinstance(result, Refusal):
        return Entry(offset, timestamp_ms, command, state, result.reason)
    return Entry(offset, timestamp_ms, command, result, None, repeated=result is state)
