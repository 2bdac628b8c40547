"""The hand-over of batches to their arms, and the breakers that live longer than a batch."""

from streamsplit.inference.breakers import Breakers, BreakerUpdate
from streamsplit.inference.flight import Flight
from streamsplit.inference.job import Job


class Dispatcher:
    """Hands batches to arms, one batch at a time.

    Args:
        watchdog: Seconds in which a run of control must finish.
    """

    def __init__(self, *, watchdog: float = 30.0) -> None:
        self._watchdog = watchdog
        self._breakers = Breakers()

    @property
    def breakers(self) -> Breakers:
        """The breakers as of the last committed batch."""
        return self._breakers

    def submit(self, job: Job) -> Flight:
        """Hand each arm its share; returns at once. A flight before it that was not collected is given up.

        Raises:
            ControlUnavailable: The job has no control.
        """
        return Flight(job, self._breakers, self._watchdog)

    def install(self, update: BreakerUpdate) -> tuple[str, ...]:
        """Make a committed batch's update hold; returns the candidates whose breaker it opened."""
        before = self._breakers
        self._breakers = before.after(update)
        return tuple(name for name in self._breakers.open if not before.is_open(update.rollout, name))
