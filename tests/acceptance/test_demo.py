"""The demonstration as a user runs it, with less traffic: it ends with a proof, or by Ctrl-C without a trace."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
MARK = "DEMO_TEST_MARK"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 # it is what is looked at, nothing is written
END_SECONDS = 90.0


@dataclass
class Demo:
    """A demonstration in a process group of its own; all that it starts inherits the mark and the folder."""

    process: subprocess.Popen[str]
    mark: str
    folder: Path

    def read_until(self, text: str) -> None:
        """Reads its output up to a line that holds the text."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if text in line:
                return
        pytest.fail(f"{text!r} was not printed:\n{''.join(seen)}")

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def living(self) -> dict[int, str]:
        """Process id → command of every living process that inherited the mark."""
        wanted = f"{MARK}={self.mark}".encode()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (process / "environ").read_bytes().split(b"\0"):
                    found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
            except OSError:  # it ended meanwhile
                continue
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """One with little traffic and short stops; whatever a test finds, it is gone afterwards."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, str(DEMO), "--rate", "500", "--hold", "0.2"],
        cwd=tmp_path,
        env={**os.environ, MARK: mark, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    made = Demo(process, mark, tmp_path)
    yield made
    if process.poll() is None:
        made.interrupt()
        process.communicate(timeout=END_SECONDS)


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


@pytest.mark.timeout(400)
def test_the_demonstration_ends_with_every_request_proven(demo: Demo) -> None:
    output, _ = demo.process.communicate(timeout=300)
    assert demo.process.returncode == 0, output
    for weight in ("begin (delay-v2)", "canary=25", "canary=75", "canary=100", "canary=10", "abort"):
        (row,) = re.findall(rf"^│ (?:set weight )?{re.escape(weight)} +│(.*)│$", output, re.MULTILINE)
        assert re.search(r"│ +\d+ ms", row), row
    assert re.search(r"│ verify +│ +0 lost │ +0 doubled │ +0 wrong │", output)
    assert re.search(r"canary=100 +│ +100 % │ +100.00 %", output)
    assert not demo.living()
    assert list(demo.folder.iterdir()) == []


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("dev broker", marks=pytest.mark.faults),
        pytest.param("apply -f examples/serve-delay-1.yaml", marks=pytest.mark.faults),
        "set weight canary=25",
    ],
    ids=lambda text: text[:10],
)
def test_an_interrupted_demonstration_leaves_nothing(demo: Demo, moment: str) -> None:
    shared = set(SHARED_MEMORY.iterdir())
    demo.read_until(moment)
    demo.interrupt()
    output, _ = demo.process.communicate(timeout=END_SECONDS)
    assert demo.process.returncode == 130, output
    assert "nothing is left running" in output
    assert wait_for(lambda: not demo.living(), 5), demo.living()
    assert list(demo.folder.iterdir()) == []
    assert set(SHARED_MEMORY.iterdir()) <= shared
