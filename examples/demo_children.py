"""The processes that the demonstration starts, and their end: whatever happens, none of them is left."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOP_SECONDS = 40.0
"""A worker finishes its open batch, a broker its start; both within this."""


class Interrupts:
    """Ctrl-C, SIGTERM and a hang-up raise KeyboardInterrupt, but not while they are held."""

    def __init__(self) -> None:
        self._holds = 0
        self._pending = False
        for number in _ENDING:
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: Any) -> None:
        self._pending = True
        if not self._holds:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Whatever is begun inside is also finished: an interrupt is raised behind it."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        if self._pending and not self._holds:
            raise KeyboardInterrupt


class Children:
    """Long-lived processes, ended in the reverse order of their start, and a folder for all that they write.

    Each has a session of its own, so that Ctrl-C reaches this process alone, which then ends them in order: traffic,
    workers, broker. What one of them leaves in the folder for temporary files goes with ours.

    Attributes:
        folder: Their temporary files and logs; removed at the end.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._interrupts = Interrupts()
        self._environment = dict(environment)
        self._running: list[tuple[subprocess.Popen[str], signal.Signals]] = []
        self.folder = Path()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="streamsplit-demo-"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Impatience must not leave a process behind: further interrupts wait until all have ended.
        with self._interrupts.held():
            for process, stop in reversed(self._running):
                _end(process, stop)
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that every process gets; more may be set for those that start later."""
        self._environment["TMPDIR"] = str(self.folder)
        return self._environment

    def start(
        self,
        command: Sequence[str],
        *,
        stop: signal.Signals = signal.SIGTERM,
        stdout: int | IO[str] = subprocess.PIPE,
        stderr: int | IO[str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a process that runs until `finish`, or until the end.

        Args:
            command: Program and arguments.
            stop: The signal that ends it in order.
            stdout: Where its output goes.
            stderr: Where its errors go; None for ours.
        """
        with self._interrupts.held():
            process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
            self._running.append((process, stop))
        return process

    def finish(self, process: subprocess.Popen[str]) -> str:
        """End a process in order, and return what it printed."""
        stop = next(stop for running, stop in self._running if running is process)
        process.send_signal(stop)
        output, _ = process.communicate(timeout=_STOP_SECONDS)
        return output or ""


def _end(process: subprocess.Popen[str], stop: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(stop)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
