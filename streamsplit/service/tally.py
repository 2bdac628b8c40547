"""What a worker has done: totals since its start, rates over the last seconds."""

import threading
from collections import Counter, deque
from collections.abc import Mapping

_RATE_SECONDS = 5.0


class Tally:
    """Counts from one thread, read by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: Counter[str] = Counter()
        self._recent: deque[tuple[float, Mapping[str, int]]] = deque()

    def add(self, now: float, counts: Mapping[str, int]) -> None:
        """Count.

        Args:
            now: Monotonic seconds.
            counts: Name → how many more.
        """
        with self._lock:
            self._totals.update(counts)
            self._recent.append((now, counts))
            self._forget(now)

    def totals(self) -> dict[str, int]:
        """Name → count since the start."""
        with self._lock:
            return dict(self._totals)

    def rates(self, now: float, names: Mapping[str, str]) -> dict[str, float]:
        """Rates over the last seconds.

        Args:
            now: Monotonic seconds.
            names: Counted name → the name to report it by.
        """
        with self._lock:
            self._forget(now)
            sums: Counter[str] = Counter()
            for _, counts in self._recent:
                sums.update(counts)
        return {shown: round(sums[name] / _RATE_SECONDS, 1) for name, shown in names.items()}

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - _RATE_SECONDS:
            self._recent.popleft()
