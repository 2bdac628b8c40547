"""The jars of the development broker: pinned by sha256, fetched once, kept in the user's cache folder.

`kafka-jars.sha256` lists each jar as `sha256  path in a Maven repository`. Nothing is resolved at run time, so neither
Maven nor another resolver is needed, and every machine runs the same bytes.
"""

import fcntl
import hashlib
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from streamsplit.core.errors import ServiceError

KAFKA_VERSION = "4.3.1"
"""The version of Apache Kafka that the manifest pins."""

MAVEN_CENTRAL = "https://repo.maven.apache.org/maven2"
MIRROR_VARIABLE = "STREAMSPLIT_MAVEN_URL"
"""Environment variable that names a mirror of Maven Central."""

_PARALLEL_DOWNLOADS = 6
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar.

    Attributes:
        sha256: Hex digest of its bytes.
        path: Its path in a Maven repository.
    """

    sha256: str
    path: str

    @property
    def name(self) -> str:
        """Its file name."""
        return self.path.rpartition("/")[2]


def manifest() -> tuple[Jar, ...]:
    """The jars of Kafka's broker and tools, as committed."""
    text = resources.files("streamsplit.kafka").joinpath("kafka-jars.sha256").read_text("utf-8")
    return tuple(Jar(*line.split()) for line in text.splitlines() if line)


def cache_folder() -> Path:
    """Where jars are kept: below `XDG_CACHE_HOME`, else `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "streamsplit" / f"kafka-{KAFKA_VERSION}"


def classpath(folder: Path | None = None, jars: Sequence[Jar] | None = None) -> str:
    """The class path of the broker; fetches what is missing or damaged.

    Args:
        folder: Where the jars are kept; the user's cache folder unless given.
        jars: The jars wanted; those of the manifest unless given.

    Raises:
        ServiceError: A jar cannot be fetched, or the server hands out other bytes than the pinned ones.
    """
    folder = cache_folder() if folder is None else folder
    jars = manifest() if jars is None else jars
    folder.mkdir(parents=True, exist_ok=True)
    if not all(_intact(folder / jar.name, jar) for jar in jars):
        with _locked(folder / ".lock"):
            # Another process may have fetched them while this one waited for the lock.
            missing = [jar for jar in jars if not _intact(folder / jar.name, jar)]
            if missing:
                _fetch_all(missing, folder)
    return os.pathsep.join(str(folder / jar.name) for jar in jars)


def _intact(file: Path, jar: Jar) -> bool:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _fetch_all(jars: Sequence[Jar], folder: Path) -> None:
    megabytes = 0.0
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        waiting = [pool.submit(_fetch, jar, folder) for jar in jars]
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                megabytes += future.result() / 1e6
                _progress(f"Fetching Apache Kafka {KAFKA_VERSION}: {done} of {len(jars)} jars, {megabytes:.0f} MB")
        finally:
            pool.shutdown(cancel_futures=True)
            _progress("", end=True)


def _progress(line: str, *, end: bool = False) -> None:
    """One line that rewrites itself on a terminal; on anything else one line at the first jar and every tenth."""
    if sys.stderr.isatty():
        sys.stderr.write("\n" if end else f"\r{line}")
    elif line and (": 1 of" in line or "0 of" in line):
        sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _fetch(jar: Jar, folder: Path) -> int:
    """Fetches one jar, checks it, and only then gives it its name; returns its size in bytes."""
    url = f"{os.environ.get(MIRROR_VARIABLE, MAVEN_CENTRAL).rstrip('/')}/{jar.path}"
    problem = ""
    for _ in range(_ATTEMPTS):
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - a fixed https address, or the mirror the user named
                content: bytes = response.read()
        except (urllib.error.URLError, OSError) as error:
            problem = f"{error}"
            continue
        digest = hashlib.sha256(content).hexdigest()
        if digest == jar.sha256:
            partial = folder / f"{jar.name}.{os.getpid()}.part"
            partial.write_bytes(content)
            partial.replace(folder / jar.name)
            return len(content)
        problem = f"its sha256 is {digest}, expected {jar.sha256}"
    raise ServiceError(
        f"cannot fetch {url}: {problem}. The development broker needs Apache Kafka's jars once: connect to the "
        f"internet, name a mirror of Maven Central in {MIRROR_VARIABLE}, or use a Kafka that already runs"
    )
