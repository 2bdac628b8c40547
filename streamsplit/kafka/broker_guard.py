"""Runs one Java broker and ends it when its owner ends, however that dies.

Started by path as a program of its own: `python broker_guard.py FOLDER LOG COMMAND...`. It reads the numbers of
signals for the broker from its standard input, which the owner keeps open; the end of the stream means that the owner
has died. Then the broker is killed and FOLDER removed. Should the guard itself be killed, the kernel kills the broker
(Linux). A pipe tells of the death of a process; the kernel's parent-death signal alone would already fire when the
thread that started the broker ends.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_LOOK_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


def _die_with_the_guard() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _orphaned(owner: int) -> bool:
    """A copy of the pipe may survive in a fork of the owner, so its number is looked at, too."""
    return os.getppid() != owner


def guard(folder: Path, log: Path, command: list[str]) -> int:
    """Runs the command until it ends or its owner does; returns its exit status."""
    owner = os.getppid()
    with log.open("ab") as sink:
        broker = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=folder,
            preexec_fn=_die_with_the_guard,  # noqa: PLW1509 - this program has one thread
        )
    while broker.poll() is None:
        readable, _, _ = select.select([0], [], [], _LOOK_SECONDS)
        words = os.read(0, 4096).split() if readable else None
        if words == [] or _orphaned(owner):
            broker.kill()
            broker.wait()
            shutil.rmtree(folder, ignore_errors=True)
            return 1
        for word in words or ():
            broker.send_signal(int(word))
    return broker.returncode


if __name__ == "__main__":
    sys.exit(guard(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
