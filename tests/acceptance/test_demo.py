"""The demonstration as a user runs it, with less traffic: it ends with a proof, or by Ctrl-C without a trace."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
MARK = "DEMO_TEST_MARK"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 # it is what is looked at, nothing is written


def demo(folder: Path, mark: str, *options: str) -> subprocess.Popen[str]:
    """Starts it in a process group of its own; all that it starts inherits the mark and the folder."""
    return subprocess.Popen(
        [sys.executable, str(DEMO), *options],
        cwd=folder,
        env={**os.environ, MARK: mark, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def marked(mark: str) -> dict[int, str]:
    """Process id → command of every living process that inherited the mark."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
        except OSError:  # it ended meanwhile
            continue
    return found


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Reads its output up to a line that holds the text."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    pytest.fail(f"{text!r} was not printed:\n{''.join(seen)}")


def test_the_demonstration_ends_with_every_request_proven(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    process = demo(tmp_path, mark, "--rate", "500", "--hold", "0.5")
    output, _ = process.communicate(timeout=170)
    assert process.returncode == 0, output
    for weight in ("begin (delay-v2)", "canary=25", "canary=75", "canary=100", "canary=10", "abort"):
        (row,) = re.findall(rf"^│ (?:set weight )?{re.escape(weight)} +│(.*)│$", output, re.MULTILINE)
        assert re.search(r"│ +\d+ ms", row), row
    assert re.search(r"│ verify +│ +0 lost │ +0 doubled │ +0 wrong │", output)
    assert re.search(r"canary=100 +│ +100 % │ +100.00 %", output)
    assert not marked(mark)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "moment", ["dev broker", "apply -f examples/serve-delay-1.yaml", "set weight canary=25"], ids=lambda text: text[:10]
)
def test_an_interrupted_demonstration_leaves_nothing(tmp_path: Path, moment: str) -> None:
    mark, shared = uuid.uuid4().hex, set(SHARED_MEMORY.iterdir())
    process = demo(tmp_path, mark, "--rate", "500", "--hold", "0.5")
    read_until(process, moment)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 130, output
    assert "nothing is left running" in output
    assert wait_for(lambda: not marked(mark), 5), marked(mark)
    assert list(tmp_path.iterdir()) == []
    assert set(SHARED_MEMORY.iterdir()) <= shared
