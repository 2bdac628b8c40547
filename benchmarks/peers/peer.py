"""How the benchmark sees a system that it compares StreamSplit with."""

import sys
from collections.abc import Callable
from typing import Protocol

from benchmarks.peers.plan import Plan

Tell = Callable[[str], None]


class Peer(Protocol):
    """A program that serves the same requests: it is told by a plan, and runs until SIGTERM."""

    @property
    def name(self) -> str:
        """A word for the command line."""

    @property
    def title(self) -> str:
        """What tables call it."""

    @property
    def exactly_once(self) -> bool:
        """Whether it has transactions; otherwise it serves at least once, whatever the plan says."""

    @property
    def named_partitions(self) -> bool:
        """Whether it can write to the request's partition number; otherwise the key's hash decides."""

    def available(self) -> str | None:
        """Why it cannot run on this machine; None where it can."""

    def prepare(self, tell: Tell) -> None:
        """Install or build it into the user's cache folder, where that was not done yet.

        Raises:
            ServiceError: It cannot be; with the end of what was said.
        """

    def command(self, plan: Plan) -> list[str]:
        """What to start in the repository's root, once it is prepared."""


def tell_stderr(line: str) -> None:
    """A line of progress for a person."""
    print(line, file=sys.stderr, flush=True)
