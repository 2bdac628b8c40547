"""Waiting until the workers follow a command, by what they say of themselves."""

import time
from collections.abc import Callable, Mapping

from streamsplit.core.errors import ServiceError
from streamsplit.core.status import Status
from streamsplit.kafka.status_reader import GONE_SECONDS, Arrival, StatusReader


def laggards(latest: Mapping[str, Arrival], revision: int, *, now: float, since: float) -> tuple[str, ...]:
    """Who does not follow a revision yet, in words; empty when every ready worker does.

    Args:
        latest: Slot → newest status.
        revision: That is to be followed.
        now: On the monotonic clock.
        since: When listening began: a worker unheard of since `GONE_SECONDS` is gone, and not waited for.
    """
    statuses, silent = present(latest, now=now, since=since)
    reasons = [f"{slot}: has not been heard yet" for slot in silent]
    ready = {slot: status for slot, status in statuses.items() if status.ready}
    reasons += [
        f"{slot}: still at revision {status.revision}" for slot, status in ready.items() if status.revision < revision
    ]
    if not ready and not silent:
        reasons += [f"{slot}: not ready: {'; '.join(status.reasons)}" for slot, status in statuses.items()]
        reasons += [] if statuses else [f"no worker has reported within the last {GONE_SECONDS:.0f} s"]
    return tuple(reasons)


def present(latest: Mapping[str, Arrival], *, now: float, since: float) -> tuple[dict[str, Status], tuple[str, ...]]:
    """The workers that live, and the slots of which nobody can tell yet."""
    living, silent = {}, []
    for slot, arrival in sorted(latest.items()):
        if arrival.status.stopping:
            continue
        if arrival.arrived is None:
            if now < since + GONE_SECONDS:
                silent.append(slot)
        elif now < arrival.arrived + GONE_SECONDS:
            living[slot] = arrival.status
    return living, tuple(silent)


def wait_until(reader: StatusReader, missing: Callable[[float], tuple[str, ...]], seconds: float) -> None:
    """Listen to the workers until nothing is missing.

    Args:
        reader: Of their statuses.
        missing: Says what is missing; it is told when listening began, on the monotonic clock.
        seconds: How long.

    Raises:
        ServiceError: When something is missing still.
    """
    reader.read_to_end()
    since = time.monotonic()
    while reasons := missing(since):
        if time.monotonic() > since + seconds:
            raise ServiceError(f"Not within {seconds:g} s:\n" + "\n".join(f"  {reason}" for reason in reasons))
        reader.poll()


def wait_followed(reader: StatusReader, revision: int, seconds: float) -> None:
    """Return when every ready worker serves under a revision.

    Raises:
        ServiceError: When one does not in time, or there is none.
    """
    wait_until(reader, lambda since: laggards(reader.latest, revision, now=time.monotonic(), since=since), seconds)
