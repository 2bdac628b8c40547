"""The states that a control log has gone through, by revision."""

from bisect import bisect_right
from dataclasses import replace

from streamsplit.core.rollout import State


class StateHistory:
    """Every state of a log from its first command on, without the ids of the commands.

    The ids are what grows: each state has those of all before it. What is left is some hundred bytes a command, as
    little as the log itself, so that all are kept: a judge that has fallen behind asks for old ones.
    """

    def __init__(self) -> None:
        """Begin with the state of an empty log."""
        self._revisions = [-1]
        self._states = [State()]

    def add(self, state: State) -> None:
        """Note a state; one whose revision is known already changes nothing."""
        if state.revision > self._revisions[-1]:
            self._states.append(replace(state, command_ids=frozenset()))
            self._revisions.append(state.revision)

    def at(self, revision: int) -> State:
        """The state that held at a revision: the newest one that is not newer; `command_ids` is empty."""
        return self._states[max(0, bisect_right(self._revisions, revision) - 1)]
