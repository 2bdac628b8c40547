"""Workers as an orchestrator keeps them: one that ends is started again at once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import psutil

from tests.faults import faulty_worker

_STOP_SECONDS = 90.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Fault:
    """What happens to one process of a worker.

    Attributes:
        point: The marked point: `consumed`, `produced`, `offsets_sent`, `committing` or `committed`.
        passing: At which passing of it, from the first batch on.
        number: The signal.
        pid: Whom it hits; None: the worker itself.
        delay: Seconds from the passing to the signal; the worker goes on meanwhile.
    """

    point: str
    passing: int
    number: int = signal.SIGKILL
    pid: int | None = None
    delay: float = 0.0


def until(condition: Callable[[], Any], seconds: float, what: str | Callable[[], str]) -> Any:
    """Wait for a condition; returns what it gave."""
    deadline = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}"
        time.sleep(_LOOK_SECONDS)
    return met


class KeptWorker:
    """A worker's slot and the processes that have it, one after the other.

    Args:
        settings: Of the worker.
        faults: One for each process, in order; the processes behind them meet none.
        log: File of what they say.

    Attributes:
        exits: Exit codes of the processes that have ended.
    """

    def __init__(self, settings: dict[str, Any], faults: Sequence[Fault], log: Path) -> None:
        self.slot: str = settings["slot"]
        self.log = log
        self.exits: list[int] = []
        self._settings = settings
        self._faults = faults
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()
        # The kernel kills a worker when the thread that started it ends; this one ends last.
        self._thread = threading.Thread(target=self._keep, name=f"keeper-{self.slot}", daemon=True)
        self._thread.start()

    @property
    def process(self) -> psutil.Process:
        """The process that has the slot now."""
        current = until(lambda: self._process, 60, f"{self.slot} has a process")
        return psutil.Process(current.pid)

    def said(self, words: str) -> bool:
        """Whether the log holds these words."""
        return words in self.log.read_text("utf-8", "replace")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process that has the slot now."""
        self.process.send_signal(number)

    @property
    def running(self) -> bool:
        """Whether it is kept."""
        return self._thread.is_alive()

    def kill(self) -> None:
        """End it at once and for good."""
        self._stopping.set()
        while self._thread.is_alive():
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
            self._thread.join(0.2)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it for good; returns the exit code."""
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join()
            raise AssertionError(f"{self.slot} did not stop within {_STOP_SECONDS:.0f} s")
        return self.exits[-1]

    def _keep(self) -> None:
        for fault in chain(self._faults, repeat(None)):
            if self._stopping.is_set():
                return
            with self.log.open("a") as log:
                self._process = subprocess.Popen(
                    [sys.executable, faulty_worker.__file__, str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={name: value for name, value in os.environ.items() if not name.startswith("STREAMSPLIT_")},
                )
                order = {"settings": self._settings, "fault": asdict(fault) if fault is not None else None}
                self._process.communicate(json.dumps(order))
                self.exits.append(self._process.returncode)
