"""The commands of the demonstration, typed and shown as a user would type them."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.demo_children import Children

STREAMSPLIT = str(Path(sys.executable).parent / "streamsplit")


class Failed(Exception):
    """The demonstration did not come to its end; the message says why."""


class Stage:
    """Types commands as a user would, and shows them.

    Args:
        children: What runs beside them.
        console: Where it shows.
    """

    def __init__(self, children: Children, console: Console) -> None:
        self.children = children
        self._console = console

    def say(self, text: str) -> None:
        """A sentence about what comes next."""
        self._console.print(f"\n{text}", markup=False)

    def tell(self, text: str) -> None:
        """A line about what happens without our doing."""
        self._console.print(f"  {text}", markup=False, soft_wrap=True)

    def show(self, *words: str, note: str = "") -> list[str]:
        """Print a command as it would be typed; returns it as it is run."""
        shown = shlex.join(["streamsplit" if word == STREAMSPLIT else Path(word).name for word in words[:1]])
        self._console.print(f"$ {shown} {shlex.join(words[1:])}{note}", style="bold cyan", soft_wrap=True, markup=False)
        sys.stdout.flush()
        return list(words)

    def type(self, *words: str) -> None:
        """Run a verb of the command line, its output on the terminal.

        Raises:
            Failed: Its exit code is not 0.
        """
        done = subprocess.run(self.show(STREAMSPLIT, *words), env=self.children.environment, check=False)
        if done.returncode:
            raise Failed(f"`streamsplit {shlex.join(words)}` ended with exit code {done.returncode}")

    def ask(self, *words: str, note: str | None = None) -> Any:
        """The JSON that a verb prints, whatever its exit code; shown as typed where there is a note."""
        command = [STREAMSPLIT, *words, "-o", "json"]
        if note is not None:
            self.show(*command, note=note)
        stderr = None if note is not None else subprocess.DEVNULL
        done = subprocess.run(
            command, env=self.children.environment, stdout=subprocess.PIPE, stderr=stderr, check=False
        )
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise Failed(f"`streamsplit {shlex.join(words)}` ended with exit code {done.returncode}") from error

    def let_flow(self, seconds: float, traffic: subprocess.Popen[str]) -> None:
        """Let traffic flow for a while.

        Raises:
            Failed: The sender ended.
        """
        with self._console.status(f"traffic flows for {seconds:g} s"):
            try:
                traffic.wait(seconds)
            except subprocess.TimeoutExpired:
                return
        raise Failed(f"the sender of flights ended with exit code {traffic.returncode}")

    def wait(self, what: str, condition: Callable[[], bool], seconds: float) -> None:
        """Return when a condition holds.

        Raises:
            Failed: It does not in time.
        """
        deadline = time.monotonic() + seconds
        with self._console.status(what):
            while not condition():
                if time.monotonic() > deadline:
                    raise Failed(f"{what}: not within {seconds:.0f} s")
