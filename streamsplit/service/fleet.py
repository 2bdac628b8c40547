"""Watches all workers over the topic `workers`; one worker at a time does, and begins a rollout when all are ready."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamsplit.core.commands import Command, Kind
from streamsplit.core.errors import ServiceError
from streamsplit.core.rollout import Phase, State
from streamsplit.core.status import Status, unprepared
from streamsplit.kafka.control_log import ControlWriter

logger = logging.getLogger(__name__)

_RECENT_SECONDS = 5.0
_APART_SECONDS = 0.5
_AGAIN_SECONDS = 1.0
_FORGET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Heard:
    """The newest status of a slot.

    Attributes:
        status: What it says.
        first: When this process was first heard of, by the monotonic clock.
        last: When it was heard of last.
    """

    status: Status
    first: float
    last: float


class Fleet:
    """Sees who is ready.

    A status counts by when it arrived here. What was waiting in the topic arrives in one burst, whoever wrote it and
    however long ago; so a worker is alive only when two of its statuses arrived half a second apart.

    Args:
        state: The state to judge against.
        partitions: Number of request partitions, asked of the brokers; may block.
        writer: Of the control log.
        actor: Who begins rollouts.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        state: Callable[[], State],
        partitions: Callable[[], int],
        writer: ControlWriter,
        actor: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._partitions = partitions
        self._writer = writer
        self._actor = actor
        self._clock = clock
        self._heard: dict[str, _Heard] = {}
        self._begun_at = 0.0
        self.alarm: str | None = None

    async def observe(self, key: bytes, value: bytes) -> None:
        """Take one status in, and begin the rollout where everybody is prepared."""
        try:
            status = Status.from_dict(json.loads(value))
        except ValueError:
            return  # somebody else's record
        now = self._clock()
        slot = key.decode(errors="replace")
        before = self._heard.get(slot)
        known = before is not None and before.status.incarnation == status.incarnation
        self._heard[slot] = _Heard(status, before.first if before is not None and known else now, now)
        self._heard = {each: heard for each, heard in self._heard.items() if now - heard.last < _FORGET_SECONDS}
        self._compare_digests()
        state = self._state()
        if state.phase is not Phase.PREPARING or now < self._begun_at + _AGAIN_SECONDS:
            return
        self._begun_at = now
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._begin_if_prepared, state)
        except ServiceError as error:
            logger.warning("the rollout could not begin yet: %s", error)

    def alive(self) -> dict[str, Status]:
        """Slot → status of the workers heard within the last 5 s."""
        since = self._clock() - _RECENT_SECONDS
        return {
            slot: heard.status
            for slot, heard in self._heard.items()
            if heard.last >= since and heard.last - heard.first >= _APART_SECONDS and not heard.status.stopping
        }

    def _begin_if_prepared(self, state: State) -> None:
        reasons = unprepared(self.alive(), state.revision, self._partitions())
        if reasons:
            logger.info("%s cannot begin yet: %s", state.name, "; ".join(reasons))
            return
        logger.info("every partition has a worker that is ready: %s begins", state.name)
        self._writer.write(
            Command(
                # One id for each apply: two observers' commands are one.
                command_id=f"begin-{state.apply_revision}",
                kind=Kind.BEGIN,
                rollout=state.name,
                apply_revision=state.apply_revision,
                expected_revision=state.revision,
                actor=self._actor,
                reason="every request partition has a worker that is ready",
                issued_at_ms=time.time_ns() // 1_000_000,
            )
        )

    def _compare_digests(self) -> None:
        digests: dict[int, dict[str, str]] = {}
        for slot, status in self.alive().items():
            digests.setdefault(status.revision, {})[status.digest] = slot
        apart = {revision: found for revision, found in digests.items() if len(found) > 1}
        alarm = None
        if apart:
            revision, found = max(apart.items())
            alarm = f"workers {', '.join(sorted(found.values()))} fold revision {revision} to different states"
        if alarm is not None and alarm != self.alarm:
            logger.error("%s: do they run different versions?", alarm)
        self.alarm = alarm
