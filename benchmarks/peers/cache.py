"""Where peers are installed and built: below the user's cache folder, by the digest of what they are made from."""

import hashlib
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from streamsplit.core.errors import ServiceError

_DIGITS = 12
_TAIL_LINES = 20


def folder(name: str, sources: Iterable[Path]) -> Path:
    """The folder of a thing that is made from these files; another one when they change."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:_DIGITS]
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "streamsplit" / f"{name}-{digest}"


def call(command: Sequence[str], what: str) -> None:
    """Run a command to its end.

    Args:
        command: The program and its arguments.
        what: What it does, for the error.

    Raises:
        ServiceError: It failed; with the end of what it said.
    """
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-_TAIL_LINES:])
        raise ServiceError(f"{what} failed with code {done.returncode}:\n{tail}")
