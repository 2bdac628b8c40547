"""The demonstration as a user runs it, with less traffic: it ends with a proof, or by Ctrl-C without a trace."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
MARK = "DEMO_TEST_MARK"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 # it is what is looked at, nothing is written
END_SECONDS = 180.0
QUIET_SECONDS = 240.0
"""Longest silence: more than the demonstration itself waits for anything, however long all of it takes."""


@dataclass
class Demo:
    """A demonstration in a process group of its own; all that it starts inherits the mark and the folder."""

    process: subprocess.Popen[str]
    mark: str
    folder: Path
    said: list[str] = field(default_factory=list)
    lines: queue.Queue[str] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def line(self) -> str:
        """Its next line; empty once it has ended."""
        try:
            line = self.lines.get(timeout=QUIET_SECONDS)
        except queue.Empty:
            pytest.fail(f"nothing was printed for {QUIET_SECONDS:.0f} s:\n{''.join(self.said)}")
        self.said.append(line)
        return line

    def read_until(self, text: str) -> None:
        """Reads its output up to a line that holds the text."""
        while line := self.line():
            if text in line:
                return
        pytest.fail(f"{text!r} was not printed:\n{''.join(self.said)}")

    def read_on(self) -> str:
        """Reads its output to the end; all of it, with what was read before."""
        while self.line():
            pass
        self.process.wait(END_SECONDS)
        return "".join(self.said)

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
        [sys.executable, str(DEMO), "--rate", "1000", "--hold", "0.2"],
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
        process.wait(END_SECONDS)


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def cells(output: str, name: str) -> list[str]:
    """What stands behind a name on the last page, one for each rollout."""
    (row,) = re.findall(rf"^│ {re.escape(name)} +│(.*)│$", output, re.MULTILINE)
    return [cell.strip() for cell in row.split("│")]


def numbers(output: str, name: str) -> list[int]:
    """The first number of each cell."""
    return [int(re.findall(r"[\d,]+", cell)[0].replace(",", "")) for cell in cells(output, name)]


@pytest.mark.timeout(1200)
def test_the_judge_promotes_the_better_model_and_takes_both_bad_ones_back_and_all_is_proven(demo: Demo) -> None:
    output = demo.read_on()
    assert demo.process.returncode == 0, output
    assert cells(output, "the judge") == ["Promoted", "RolledBack", "RolledBack"]
    better, swapped, raising = cells(output, "because")
    assert better == "good enough at 10/25/75 %"
    assert swapped.startswith("score ")
    assert raising.startswith("error")
    assert len(re.findall(r"judge  advance → Progressing, canary=(?:25|75|100):", output)) == 3
    assert [cell.endswith("ms after the command") for cell in cells(output, "its last answer")] == [True] * 3
    assigned, answered = numbers(output, "assigned to it"), numbers(output, "answered by it")
    assert all(0 < took <= given for took, given in zip(answered, assigned, strict=True))
    assert answered[2] < assigned[2], "control answered what delay@4 raised on"
    assert all(decided > 0 for decided in numbers(output, "decided after"))
    assert output.count("Guards of canary") == 1
    assert "✖ rollback  delay-v3" in output
    assert re.fullmatch(r"[1-9]\d* decisions 0 missing 0 different", " ".join(cells(output, "decided again")))
    assert cells(output, "verify, all in all") == ["0 lost", "0 doubled", "0 wrong"]
    assert not demo.living()
    assert list(demo.folder.iterdir()) == []


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("dev broker", marks=pytest.mark.faults),
        pytest.param("apply -f examples/serve-delay-1.yaml", marks=pytest.mark.faults),
        "begin → Progressing, canary=10",
    ],
    ids=lambda text: text[:10],
)
def test_an_interrupted_demonstration_leaves_nothing(demo: Demo, moment: str) -> None:
    shared = set(SHARED_MEMORY.iterdir())
    demo.read_until(moment)
    demo.interrupt()
    output = demo.read_on()
    assert demo.process.returncode == 130, output
    assert "nothing is left running" in output
    assert wait_for(lambda: not demo.living(), 60), demo.living()
    assert list(demo.folder.iterdir()) == []
    assert set(SHARED_MEMORY.iterdir()) <= shared
