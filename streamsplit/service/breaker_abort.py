"""The abort that a worker writes by itself when a candidate's breaker opens in it."""

import logging
import time

from streamsplit.core.commands import Command, Kind
from streamsplit.core.errors import ServiceError
from streamsplit.core.rollout import State
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.kafka.control_log import ControlWriter

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 10.0


class BreakerAbort:
    """Takes the rollout back, for everybody, once a breaker of it is open here.

    Args:
        writer: Of the control log; batches wait while it writes, so its time-out should be short.
        slot: Of this worker.
        dispatcher: Has the breakers.
    """

    def __init__(self, writer: ControlWriter, slot: str, dispatcher: Dispatcher) -> None:
        self._writer = writer
        self._slot = slot
        self._dispatcher = dispatcher
        self._asked = (-1, 0.0)

    def ask(self, state: State) -> None:
        """Where a breaker of the present rollout is open, write its abort, again and again until it is over."""
        breakers = self._dispatcher.breakers
        if not breakers.open or breakers.rollout != state.apply_revision or not state.phase.active:
            return
        revision, asked_at = self._asked
        if revision == state.apply_revision and time.monotonic() - asked_at < _AGAIN_SECONDS:
            return
        why = "; ".join(f"{name}: {reason}" for name, reason in breakers.open.items())
        logger.error("breaker open, aborting %s: %s", state.name, why)
        try:
            self._writer.write(self._command(state, why))
        except ServiceError as error:
            logger.warning("the abort could not be written; this worker goes on without the candidate: %s", error)
        self._asked = (state.apply_revision, time.monotonic())

    def _command(self, state: State, why: str) -> Command:
        return Command(
            command_id=f"breaker-{state.apply_revision}",
            kind=Kind.ABORT,
            rollout=state.name,
            apply_revision=state.apply_revision,
            actor=f"breaker@{self._slot}",
            reason=why,
            issued_at_ms=time.time_ns() // 1_000_000,
        )
