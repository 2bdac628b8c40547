"""What became of a rollout is told from the control log alone."""

from typing import Any

import pytest

from simulations.world import MODELS, canary
from streamsplit.cli.fate import Fate, fate
from streamsplit.core.commands import Command, Refusal
from streamsplit.core.fold import apply
from streamsplit.core.rollout import State
from streamsplit.offline.history import Entry

JUDGED = {"actor": "judge", "command_id": "judge-1-abort", "reason": "canary errors 3x control"}


def logged(*commands: tuple[str, dict[str, Any]]) -> tuple[Entry, ...]:
    """A log of commands, folded."""
    entries: list[Entry] = []
    state = State()
    for offset, (kind, more) in enumerate(commands):
        payload = {"spec": canary(), "models": MODELS, "retry": True} if kind == "apply" else {}
        named = {"command_id": f"c{offset}", "rollout": "delay-v2", "actor": "me@here", "payload": payload, **more}
        command = Command(kind=kind, **named)
        result = apply(state, offset, command)
        refusal = result.reason if isinstance(result, Refusal) else None
        state = state if isinstance(result, Refusal) else result
        entries.append(Entry(offset, 0, command, state, refusal))
    return tuple(entries)


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ([("apply", {})], None),
        ([("apply", {}), ("begin", {}), ("pause", {})], None),
        (
            [("apply", {}), ("begin", {}), ("abort", JUDGED), ("abort", {})],
            Fate(
                "delay-v2 began (revision 1) and was rolled back by judge (revision 2): canary errors 3x control; "
                "`streamsplit explain judge-1-abort`",
                good=False,
            ),
        ),
        (
            [("apply", {}), ("begin", {}), ("promote", {"reason": "fine"})],
            Fate("delay-v2 began (revision 1) and was promoted by me@here (revision 2): fine", good=True),
        ),
        (
            [("apply", {}), ("begin", {}), ("promote", {}), ("accept_loss", {"payload": {"partition": 0, "to": 9}})],
            Fate("delay-v2 began (revision 1) and was promoted by me@here (revision 2)", good=True),
        ),
        (
            [("apply", {}), ("abort", {"reason": "wrong\nfile"}), ("apply", {}), ("begin", {})],
            Fate("delay-v2 did not begin: it was aborted by me@here (revision 1): wrong file", good=False),
        ),
    ],
)
def test_it_is_told_what_ended_a_rollout_whatever_came_after_it(
    commands: list[tuple[str, dict[str, Any]]], expected: Fate | None
) -> None:
    assert fate(logged(*commands), 0) == expected
