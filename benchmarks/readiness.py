"""Whether workers are ready to be measured, by the statuses they write."""

import time
from collections.abc import Callable, Sequence

from benchmarks.processes import Process
from streamsplit.core.errors import ServiceError
from streamsplit.core.status import unprepared
from streamsplit.kafka.status_reader import StatusReader

_READY_SECONDS = 120.0
_STEADY_LAG = 200


def wait_for(reader: StatusReader, process: Process, missing: Callable[[], Sequence[str]]) -> None:
    """Follow the workers' statuses until nothing is missing.

    Args:
        reader: Of the statuses.
        process: The workers.
        missing: What is missing yet, for a person.

    Raises:
        ServiceError: The workers ended, or it took too long; with what was missing.
    """
    deadline = time.monotonic() + _READY_SECONDS
    while reasons := missing():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServiceError(f"the workers did not become ready: {'; '.join(reasons)}")
        reader.poll(0.02)


def not_here(reader: StatusReader, count: int) -> Sequence[str]:
    """Why not all workers have started."""
    missing = count - len(reader.alive())
    return [f"{missing} of {count} workers have not reported"] if missing > 0 else []


def not_prepared(reader: StatusReader, revision: int, partitions: int) -> Sequence[str]:
    """Why not every partition has a worker that is ready at a revision, with all its arms warm."""
    return unprepared(reader.alive(), revision, partitions)


def not_sharing(reader: StatusReader, count: int) -> Sequence[str]:
    """Why the partitions are not shared by so many workers."""
    working = sum(bool(status.reading) for status in reader.alive().values())
    return [f"{working} of {count} workers have partitions"] if working < count else []


def not_flowing(reader: StatusReader, partitions: int) -> Sequence[str]:
    """Why traffic is not steady yet: each partition has been answered, none lags behind."""
    alive = reader.alive()
    reading = {number: next_ for status in alive.values() for number, next_ in status.reading.items()}
    lag = {number: behind for status in alive.values() for number, behind in status.lag.items()}
    reasons = [f"partition {number} has no answer yet" for number in range(partitions) if not reading.get(number)]
    return reasons + [
        f"partition {number} is {behind} behind" for number, behind in lag.items() if behind > _STEADY_LAG
    ]
