"""Where a thread's CPU time goes, stage by stage."""

import time
from collections import Counter


class Stopwatch:
    """CPU time of one thread, kept apart by stage; all methods are called by that thread.

    Asking the clock takes half a microsecond: laps are for batches, not for requests.
    """

    def __init__(self) -> None:
        self._spent: Counter[str] = Counter()
        self._at = 0

    def begin(self) -> None:
        """Start a stage here; what was spent since the last lap is nobody's."""
        self._at = time.thread_time_ns()

    def lap(self, stage: str) -> None:
        """What was spent since the last lap was this stage's."""
        now = time.thread_time_ns()
        self._spent[stage] += now - self._at
        self._at = now

    def take(self) -> dict[str, int]:
        """`cpu:<stage>` → microseconds since the last time that this was asked."""
        taken = {f"cpu:{stage}": spent // 1000 for stage, spent in self._spent.items()}
        self._spent.clear()
        return taken
