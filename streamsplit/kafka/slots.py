"""Room for batches under way: taken by the thread that delivers them, given back by the one that commits them."""

import threading


class Slots:
    """So many places.

    Args:
        depth: How many.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, seconds: float) -> bool:
        """Take a place; False where none has become free within so many seconds."""
        with self._changed:
            free = self._changed.wait_for(lambda: self._taken < self._depth, seconds)
            self._taken += free
            return free

    def free(self) -> None:
        """Give a place back."""
        with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Whether no place is taken, now or within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._taken == 0, seconds)
