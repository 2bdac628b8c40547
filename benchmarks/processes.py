"""Processes under test: started in the repository's root, ended in order, with the end of their log where they fail."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.loads import ROOT
from streamsplit.core.errors import ServiceError

Process = subprocess.Popen[bytes]

_STOP_SECONDS = 30.0
_TAIL_LINES = 20


@contextmanager
def process(command: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[Process]:
    """A process, ended with SIGTERM where it has not ended.

    Raises:
        ServiceError: It ended by itself with an error, or did not leave in order; with the end of its log.
    """
    # Settings of whoever runs the benchmark are not the benchmark's.
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("STREAMSPLIT_")}
    with tempfile.TemporaryDirectory(prefix="streamsplit-bench-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            started = subprocess.Popen(
                list(command), cwd=ROOT, stdout=output, stderr=output, env={**surroundings, **(environment or {})}
            )
        try:
            yield started
        except ServiceError as error:
            raise ServiceError(f"{error}\n{_tail(log)}") from error
        finally:
            _end(started)
        # A Java runtime that is told to stop says so with its code.
        if started.returncode not in {0, -signal.SIGTERM, 128 + signal.SIGTERM}:
            raise ServiceError(f"{command[0]} ... ended with code {started.returncode}:\n{_tail(log)}")


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-m", module, *arguments]


@contextmanager
def workers(settings: dict[str, object], count: int = 1) -> Iterator[Process]:
    """`streamsplit run`; for several workers their parent.

    Args:
        settings: Of each.
        count: How many.

    Raises:
        ServiceError: They did not leave in order; with the end of their log.
    """
    several = ["--workers", f"{count}"] if count > 1 else []
    with tempfile.TemporaryDirectory(prefix="streamsplit-bench-") as folder:
        file = Path(folder) / "streamsplit.yaml"
        file.write_text(json.dumps(settings), "utf-8")  # JSON is YAML, too
        with process(python("streamsplit.cli.main", "-c", str(file), "run", *several)) as started:
            yield started


def _end(started: Process) -> None:
    if started.poll() is None:
        started.send_signal(signal.SIGTERM)
    try:
        started.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:])
