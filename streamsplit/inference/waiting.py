"""Waiting for model processes without ever blocking for long."""

import time
from collections.abc import Callable, Sequence

from streamsplit.core.errors import ServiceError
from streamsplit.inference.arm import Arm
from streamsplit.inference.process import ModelProcess, wait_readable
from streamsplit.inference.share import Share

KeepGoing = Callable[[], bool]
"""Asked about twenty times a second while we wait; False: give the batch up."""

_TICK_SECONDS = 0.05


class Abandoned(ServiceError):
    """Nobody wants the batch any more; nothing of it may be committed."""


class ControlUnavailable(ServiceError):
    """Control cannot be loaded, or was stopped; the records are fine."""


def wait_for_shares(shares: Sequence[Share], keep_going: KeepGoing) -> None:
    """Return when every share is finished; each has its own deadline.

    Raises:
        Abandoned: `keep_going` turned false.
    """
    asked = time.monotonic()
    while True:
        for share in shares:
            share.poll()
        waiting = [share for share in shares if not share.finished]
        if not waiting:
            return
        now = time.monotonic()
        if now - asked >= _TICK_SECONDS:
            asked = now
            _require(keep_going)
        deadline = min(share.deadline for share in waiting)
        wait_readable([share.process.fileno() for share in waiting], min(_TICK_SECONDS, deadline - now))


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
