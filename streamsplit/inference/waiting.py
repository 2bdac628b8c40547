"""Waiting for model processes without ever blocking for long."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from streamsplit.core.errors import ServiceError
from streamsplit.inference.arm import Arm
from streamsplit.inference.process import ModelProcess, wait_readable

KeepGoing = Callable[[], bool]
"""Asked about twenty times a second while we wait; False: give the batch up."""

_TICK_SECONDS = 0.05


class Abandoned(ServiceError):
    """Nobody wants the batch any more; nothing of it may be committed."""


class ControlUnavailable(ServiceError):
    """Control cannot be loaded, or was stopped; the records are fine."""


class Awaited(Protocol):
    """Rows that a model process is at."""

    @property
    def process(self) -> ModelProcess:
        """Who answers."""

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""

    @property
    def deadline(self) -> float:
        """When to lose patience, on the monotonic clock."""

    def poll(self) -> None:
        """Take what has come."""


def wait_for_shares(
    shares: Sequence[Awaited], keep_going: KeepGoing, beside: Sequence[Awaited] = (), until: float = math.inf
) -> None:
    """Return when every share is finished; each has its own deadline.

    Args:
        shares: What is waited for.
        keep_going: Asked while it takes long.
        beside: What is polled as well, but not waited for.
        until: When to return at the latest, on the monotonic clock.

    Raises:
        Abandoned: `keep_going` turned false.
    """
    asked = time.monotonic()
    while True:
        now = time.monotonic()
        for share in (*shares, *beside):
            share.poll()
        waiting = [share for share in shares if not share.finished]
        if not waiting or now >= until:
            return
        if now - asked >= _TICK_SECONDS:
            asked = now
            _require(keep_going)
        watched = [*waiting, *(share for share in beside if not share.finished)]
        deadline = min(until, *(share.deadline for share in watched))
        wait_readable([share.process.fileno() for share in watched], min(_TICK_SECONDS, deadline - now))


def wait_for_control(control: Arm, keep_going: KeepGoing) -> ModelProcess:
    """Control's process, once it is ready.

    Raises:
        Abandoned: `keep_going` turned false.
        ControlUnavailable: It never will be.
    """
    while (process := control.process) is None:
        status = control.status
        if status.final:
            raise ControlUnavailable(f"control ({control.label}) is {status.phase}: {status.reason}")
        _require(keep_going)
        control.wait(lambda now: now.ready or now.final, _TICK_SECONDS)
    return process


def _require(keep_going: KeepGoing) -> None:
    if not keep_going():
        raise Abandoned("the batch was given up while it waited for its models")
