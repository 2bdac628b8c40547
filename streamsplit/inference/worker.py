"""A model process: `python -m streamsplit.inference.worker SOCKET ARENA CARGO PARENT VETTED`.

The arguments are descriptors, the parent's process id, and whether the graphs have been inspected before. Messages go
over the socket, tensors lie in the arena; standard output carries nothing.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SACRIFICE = "500"


def main(arguments: list[str]) -> int:
    """Serve one parent until it is gone; returns the exit code."""
    socket_fd, arena_fd, cargo_fd, parent, vetted = map(int, arguments)
    die_with(parent)
    # A signal to the terminal's or the container's processes is the parent's business: it decides when we end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_SACRIFICE)  # where memory runs out we go before the parent
    from streamsplit.inference.serving import serve  # noqa: PLC0415 - slow, and must not come before `die_with`

    return serve(socket_fd, arena_fd, cargo_fd, vetted=bool(vetted))


def die_with(parent: int) -> None:
    """Have the kernel kill us when the thread that started us ends; end at once if it already has."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    # Without the interpreter's farewell, which would wait for threads of a library.
    os._exit(main(sys.argv[1:]))
