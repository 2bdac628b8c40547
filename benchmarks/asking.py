"""Asking brokers that are not ready to answer yet."""

import time
from collections.abc import Callable

from streamsplit.core.errors import ServiceError

_AGAIN_SECONDS = 0.05


def ask_until(deadline: float, ask: Callable[[], object]) -> None:
    """Ask again and again until there is an answer.

    Args:
        deadline: On the monotonic clock.
        ask: Raises `ServiceError` while there is none.

    Raises:
        ServiceError: There was none by then; what was said last.
    """
    while True:
        try:
            ask()
        except ServiceError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return
