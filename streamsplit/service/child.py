"""The main of a worker below a parent: settings come on standard input, health goes to a pipe.

When the pipe breaks, the parent is gone, and the worker leaves in order.
"""

import json
import os
import pickle
import signal
import sys
from dataclasses import asdict

from streamsplit.service.app import run_worker
from streamsplit.service.health import Health


def main() -> int:
    """Serve until told to stop, or until the parent is gone."""
    settings = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 # written by our own parent, over our own pipe
    pipe = int(sys.argv[1])
    return run_worker(settings, tell=lambda health: _tell(pipe, health))


def _tell(pipe: int, health: Health) -> None:
    try:
        os.write(pipe, json.dumps(asdict(health)).encode() + b"\n")
    except BrokenPipeError:
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
