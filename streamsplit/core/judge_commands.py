"""The command that a decision causes, and whether there is still a point in writing it."""

from streamsplit.core.commands import Command, Kind
from streamsplit.core.decision import Decision
from streamsplit.core.rollout import State

ACTOR = "judge"
"""Who asks for what the judge decides."""

_REASONS = 3


def command_of(decision: Decision) -> Command | None:
    """The command that a decision causes; None where it causes none, or only advises it.

    It is a function of the decision alone, so that whoever writes it again writes the same, and the fold takes it once.
    An abort names no revision that it expects: it holds whatever has happened meanwhile.
    """
    if not decision.command or decision.advice:
        return None
    kind = Kind(decision.command)
    return Command(
        command_id=decision.command_id,
        kind=kind,
        rollout=decision.rollout,
        apply_revision=decision.apply_revision,
        expected_revision=None if kind is Kind.ABORT else decision.revision,
        actor=ACTOR,
        reason="; ".join(decision.reasons[:_REASONS]),
        issued_at_ms=decision.log_time,
    )


def is_settled(state: State, command: Command) -> bool:
    """Whether a command of the judge is in the state already, or can no longer come into one.

    Args:
        state: The fold of the log as far as it is known; a state further on says the same.
        command: Made by `command_of`.
    """
    if command.command_id in state.command_ids:
        return True
    if command.apply_revision is not None and command.apply_revision < state.apply_revision:
        return True  # its rollout has been replaced
    return command.expected_revision is not None and command.expected_revision < state.revision
