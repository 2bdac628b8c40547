"""One model process, seen from its parent: start it, talk to it, end it, and say how it ended."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from streamsplit.core.records import Signature
from streamsplit.inference import wire
from streamsplit.inference.arena import Arena
from streamsplit.inference.fall import Fall, FallKind, memory_kills, of_exit

_REAP_SECONDS = 5.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class ModelProcess:
    """A child process and all that belongs to it.

    Must be made by a thread that lives as long as the process should: the kernel kills it when that thread ends.
    Messages may be sent and received by one other thread.

    Args:
        cargo_fd: What it loads; stays the caller's.
        signature: What the loaded chain takes and gives.
        vetted: Whether the graphs have been inspected before.

    Raises:
        OSError: It cannot be started.

    Attributes:
        busy: The exchange it has not finished yet; None: it is idle.
        sign_of_life: When it last began or finished a run of that exchange, on the monotonic clock, as far as is known.
        arena: Where tensors lie.
        signature: As given.
        pid: Its process id.
    """

    def __init__(self, cargo_fd: int, signature: Signature, *, vetted: bool) -> None:
        self.signature = signature
        self.busy: int | None = None
        self.sign_of_life = 0.0
        self._lock = threading.Lock()
        self._fall: Fall | None = None
        self._out_of_memory = False
        self._inbox: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._kills = memory_kills()
        self.arena = Arena.create()
        self._socket, theirs = wire.pair()
        try:
            with theirs:
                self._popen = _spawn(theirs.fileno(), self.arena.fd, cargo_fd, vetted=vetted)
            self.pid = self._popen.pid
            self.pidfd = os.pidfd_open(self.pid)
        except OSError:
            self._socket.close()
            self.arena.close()
            raise
        self._socket.setblocking(False)

    def send(self, message: dict[str, Any]) -> bool:
        """Give an order; False where the process is gone."""
        with self._lock:
            try:
                wire.send(self._socket, message)
            except OSError:
                return False
        return True

    def receive(self) -> tuple[list[dict[str, Any]], bool]:
        """The events that have come, each with its exchange and time, and whether more may come.

        False means that the process is gone.
        """
        with self._lock:
            alive = self._drain()
            messages, self._inbox = self._inbox, []
        return messages, alive

    def _drain(self) -> bool:
        while True:
            try:
                message = wire.receive(self._socket)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if message is None:
                return False
            for event in message["events"]:
                self._out_of_memory |= "memory" in event
                self._inbox.append({**event, "id": message["id"], "at": message["at"]})

    def fileno(self) -> int:
        """The descriptor that becomes readable when a message has come or the process is gone; -1 once closed."""
        return self._socket.fileno()

    def kill(self, fall: Fall) -> None:
        """End it now, for a reason; the first reason stays."""
        with self._lock:
            if self._fall is None:
                self._fall = fall
            if self.pidfd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def fall(self) -> Fall:
        """How it ended; waits for `announce`, and ends it if it only seems to be gone."""
        if not self._ended.wait(_REAP_SECONDS):
            self.kill(Fall(FallKind.KILLED, "its process does not listen any more"))
            self._ended.wait(_REAP_SECONDS)
        return self._fall or Fall(FallKind.KILLED, "its process does not end")

    def reap(self) -> Fall:
        """Wait for the end of a process that has been killed or is ending, and give everything back.

        To be followed by `announce`.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_REAP_SECONDS)
        if self._popen.returncode is None:
            self.kill(Fall(FallKind.HANG, "its process closed its socket and did not end"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_REAP_SECONDS)
        with self._lock:
            self._drain()  # its last words
            if self._fall is None:
                out_of_memory = self._out_of_memory or memory_kills() > self._kills
                self._fall = of_exit(self._popen.returncode, ran_out_of_memory=out_of_memory)
            self._socket.close()
            self.arena.close()
            os.close(self.pidfd)
            self.pidfd = -1
        return self._fall

    def announce(self) -> None:
        """Let those go on who ask for its fall."""
        self._ended.set()

    def suspended(self) -> bool:
        """Whether somebody has stopped it with a signal: then its silence is not its own."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return False
        return state in {"T", "t"}

    def resident_bytes(self) -> int:
        """Resident memory without what is shared (the arena); 0 once it has ended."""
        try:
            _, resident, shared, *_ = Path(f"/proc/{self.pid}/statm").read_text().split()
        except (OSError, ValueError):
            return 0
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _spawn(socket_fd: int, arena_fd: int, cargo_fd: int, *, vetted: bool) -> subprocess.Popen[bytes]:
    fds = (socket_fd, arena_fd, cargo_fd)
    arguments = [*map(str, fds), str(os.getpid()), str(int(vetted))]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "streamsplit.inference.worker", *arguments],
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **_ONE_THREAD},
    )


def wait_readable(fds: list[int], seconds: float | None) -> list[int]:
    """Those of some descriptors that are readable or closed, after at most `seconds`; negative ones are left out."""
    poll = select.poll()
    for fd in fds:
        if fd >= 0:
            poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(None if seconds is None else max(0.0, seconds * 1000))]
