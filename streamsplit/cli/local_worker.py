"""A worker that a verb starts on this machine, and the model that it serves where nobody names one."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from streamsplit.core.errors import UsageError
from streamsplit.inference.manifest import Manifest
from streamsplit.inference.repository import Repository

_STOP_SECONDS = 25.0


def first_model(models: Path) -> Manifest:
    """The first model of the models folder.

    Raises:
        UsageError: There is none.
    """
    for listing in Repository(models).list():
        if listing.manifest is not None:
            return listing.manifest
    raise UsageError(f"no model in {models}: set `models` (STREAMSPLIT_MODELS) to a folder that has one")


@contextmanager
def local_worker(
    config: Path | None, environment: Mapping[str, str] | None = None, log: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`streamsplit run`, stopped in order at the end.

    Args:
        config: The settings' file; None for the usual places.
        environment: Beside what this process has.
        log: Where it talks; None: where this process does.
    """
    options = ["-c", str(config)] if config else []
    worker = subprocess.Popen(
        [sys.executable, "-m", "streamsplit.cli.main", *options, "run"],
        stdout=log,
        stderr=log,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield worker
    finally:
        worker.terminate()
        try:
            worker.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
