"""Commands that the judge has decided on, until they stand in the control log.

They are no part of the judge's transaction. A transaction on `control` that its judge leaves open, as a stopped process
does, would hide all that is written behind it until its time-out: also an operator's abort. So the transaction only
records that a command is due, and it is written after that, by whoever is the judge then, until it is there; written
twice it counts once, by its `command_id`.
"""

import logging
import time
from collections.abc import Callable, Sequence

from streamsplit.core.commands import Command
from streamsplit.core.errors import ServiceError
from streamsplit.core.judge_commands import is_settled
from streamsplit.core.rollout import State

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0


class DueCommands:
    """The commands that are due, and the way to write them. One thread uses it.

    Args:
        write: Appends a command to the control log; raises ServiceError where nobody knows whether it did.
        state: The newest fold of the log.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        write: Callable[[Command], object],
        state: Callable[[], State],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._state = state
        self._clock = clock
        self._failed_at = float("-inf")
        self._due: tuple[Command, ...] = ()
        self.problem: str | None = None

    @property
    def due(self) -> tuple[Command, ...]:
        """What is not known to be in the log, oldest first."""
        return self._due

    def replace(self, commands: Sequence[Command]) -> None:
        """What is due from now on: what a committed state names."""
        self._due = tuple(commands)

    def write(self) -> None:
        """Write what is due; what cannot be written stays due and is written again a second later at the earliest."""
        if not self._due or self._clock() - self._failed_at < _AGAIN_SECONDS:
            return
        while self._due:
            command = self._due[0]
            if not is_settled(self._state(), command):
                logger.warning("%s of %s: %s", command.kind, command.rollout, command.reason)
                try:
                    self._write(command)
                except ServiceError as error:
                    self._failed_at = self._clock()
                    self.problem = f"the judge's {command.kind} could not be written yet: {error}"
                    logger.warning("%s", self.problem)
                    return
            self._due = self._due[1:]
        self.problem = None
