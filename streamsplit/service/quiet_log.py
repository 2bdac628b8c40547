"""A log that says a thing once: while brokers are away, clients complain a hundred times a second."""

import logging
import re
import time
from collections.abc import Callable

EVERY_SECONDS = 30.0
_KEPT = 1_000


class Repetitions(logging.Filter):
    """Lets a line pass once in `EVERY_SECONDS`; lines that differ in their numbers alone are the same.

    Args:
        loggers: The loggers it is for, by the beginning of their names; lines of others pass.
        clock: Monotonic seconds.
    """

    def __init__(self, loggers: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._loggers = loggers
        self._clock = clock
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is to be written; one that was held back since is counted in it."""
        if not record.name.startswith(self._loggers):
            return True
        line = record.getMessage()
        key = (record.name, re.sub(r"\d+", "#", line))
        now = self._clock()
        since, held_back = self._said.get(key, (-EVERY_SECONDS, 0))
        if now - since < EVERY_SECONDS:
            self._said[key] = (since, held_back + 1)
            return False
        if len(self._said) >= _KEPT:
            self._said.clear()
        self._said[key] = (now, 0)
        if held_back:
            record.msg, record.args = f"{line} ({held_back} more like it since the last)", ()
        return True
