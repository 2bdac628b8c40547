"""Peers written in Python: one runs beside StreamSplit, the others in an environment of their own."""

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import cache
from benchmarks.peers.peer import Tell
from benchmarks.peers.plan import Plan

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
"""What the peers' environment holds, locked. Renew it after a change of the group `peers` in pyproject.toml:

    uv pip compile --group pyproject.toml:peers --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --no-header -o benchmarks/peers/requirements.txt
"""

_DONE = ".installed"


@dataclass(frozen=True, slots=True)
class PythonPeer:
    """A module to run.

    Attributes:
        name: A word for the command line.
        title: What tables call it.
        module: The module that is its program.
        exactly_once: Whether it has transactions.
        named_partitions: Whether it can write to the request's partition number.
        own_environment: Whether it needs what StreamSplit does not install.
    """

    name: str
    title: str
    module: str
    exactly_once: bool
    named_partitions: bool
    own_environment: bool

    def available(self) -> str | None:
        """Nothing is missing: what it needs is installed by `prepare`."""
        return None

    def prepare(self, tell: Tell) -> None:
        """Make the peers' environment, once for all of them.

        Raises:
            ServiceError: The packages cannot be installed; with pip's last lines.
        """
        home = _home()
        if not self.own_environment or (home / _DONE).exists():
            return
        tell(f"installing what peers need into {home} (about a minute, once)")
        cache.call([sys.executable, "-m", "venv", "--clear", str(home)], "making an environment")
        pip = [str(_python(home)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        cache.call([*pip, "--require-hashes", "-r", str(REQUIREMENTS)], f"installing {REQUIREMENTS.name}")
        (home / _DONE).touch()

    def command(self, plan: Plan) -> list[str]:
        """Its interpreter, its module, the plan."""
        python = str(_python(_home())) if self.own_environment else sys.executable
        return [python, "-m", self.module, plan.text()]


def _home() -> Path:
    return cache.folder("peers", [REQUIREMENTS])


def _python(home: Path) -> Path:
    return home / "bin" / "python"
