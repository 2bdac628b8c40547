"""The main of a worker that meets a fault at a marked point; what and when comes as JSON on standard input.

The worker is the real one: `run_worker` with a hook at the points that its lane and its transactions pass.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from streamsplit.inference.worker import die_with
from streamsplit.service.app import run_worker
from streamsplit.service.settings import Settings


def main() -> int:
    """Serve until the fault strikes, or until told to stop."""
    die_with(int(sys.argv[1]))
    order = json.load(sys.stdin)
    hook = striking(**order["fault"]) if order["fault"] else lambda _: None
    return run_worker(Settings(**order["settings"]), checkpoint=hook)


def striking(*, point: str, passing: int, number: int, pid: int | None, delay: float) -> Callable[[str], None]:
    """A hook that sends a signal when a point is passed for the n-th time since the first batch was consumed.

    Args:
        point: Name of the point.
        passing: Which passing of it.
        number: The signal.
        pid: Whom it hits; None: this process.
        delay: Seconds from the passing to the signal; above 0 the worker goes on meanwhile.
    """
    left = passing
    loaded = False

    def strike(*_: Any) -> None:
        os.kill(pid or os.getpid(), signal.Signals(number))

    def hook(passed: str) -> None:
        nonlocal left, loaded
        loaded |= passed == "consumed"
        if not loaded or passed != point:
            return
        left -= 1
        if left == 0:
            threading.Timer(delay, strike).start() if delay else strike()

    return hook


if __name__ == "__main__":
    sys.exit(main())
