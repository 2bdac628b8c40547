"""A real Kafka, real flights, two models: the canary's weight is turned while traffic flows, and all of it is proven.

    python examples/demo.py

Everything it starts ends with it, also by Ctrl-C. Exit 0 when every request was answered exactly once by the right arm.
"""

import argparse
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.demo_children import Children
from examples.demo_results import Served, changes, table
from streamsplit.kafka.clients import Connection

ROOT = Path(__file__).parents[1]
STREAMSPLIT = str(Path(sys.executable).parent / "streamsplit")
DEPLOYMENT = "flights"
WORKERS = 2
_READY_SECONDS = 300.0
_SERVED_SECONDS = 60.0
_KEPT = {"STREAMSPLIT_MAVEN_URL"}
"""The only one of the user's own StreamSplit variables that the demonstration heeds."""


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
        self._console.print(f"\n{text}")

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


def start_broker(stage: Stage) -> str:
    """A Kafka of our own; returns its address."""
    stage.say("A real Apache Kafka on this machine, without Docker; its jars are fetched once.")
    broker = stage.children.start(stage.show(STREAMSPLIT, "dev", "broker", note=" &"))
    assert broker.stdout is not None
    address = broker.stdout.readline().strip()
    if not address:
        raise Failed("the broker did not start; its last lines say why")
    return address


def start_workers(stage: Stage) -> Path:
    """Workers below a parent; returns the file of their log."""
    log = stage.children.folder / "workers.log"
    with log.open("w") as stream:
        command = stage.show(STREAMSPLIT, "run", "--workers", str(WORKERS), note=" &")
        stage.children.start(command, stdout=stream, stderr=stream)
    return log


def start_traffic(stage: Stage, brokers: str, rate: float) -> subprocess.Popen[str]:
    """Real flights at a steady rate, until finished."""
    words = ("--brokers", brokers, "--topic", f"{DEPLOYMENT}.requests", "--rate", f"{rate:g}")
    command = stage.show(sys.executable, "-m", "examples.flights", *words, note=" &")
    return stage.children.start(command, stop=signal.SIGINT)


def turn_weights(stage: Stage, traffic: subprocess.Popen[str], hold: float) -> None:
    """The life of a rollout: begun at 10 %, turned up to 100 %, down again, and taken back."""
    stage.say("A better model. It is loaded, vetted and warmed while delay@1 goes on serving, then gets 10 %.")
    stage.type("apply", "-f", "examples/delay-v2.yaml", "--wait")
    stage.let_flow(hold, traffic)
    for percent in (25, 75, 100):
        stage.type("set", "weight", f"canary={percent}", "--wait")
        stage.let_flow(hold, traffic)
        if percent == 75:
            stage.type("get")
    stage.say("And back.")
    stage.type("set", "weight", "canary=10", "--wait")
    stage.let_flow(hold, traffic)
    stage.type("abort", "--wait", "--reason", "the demonstration goes back")
    stage.let_flow(hold, traffic)


def finish_traffic(stage: Stage, traffic: subprocess.Popen[str]) -> tuple[int, float]:
    """Stop the sender and wait until all is served; returns how many requests it delivered, and their rate a second."""
    stage.say("Traffic stops; when everything is served, each request is derived again from the logs.")
    output = stage.children.finish(traffic)
    counts = re.search(r"delivered (\d+), failed (\d+), in ([\d.]+) s", output)
    if counts is None or int(counts[2]):
        raise Failed(f"the sender of flights did not deliver all: {output or 'no output'}")
    delivered = int(counts[1])

    def all_served() -> bool:
        # The topic was written without transactions: its offsets have no gaps.
        workers = stage.ask("status")["workers"]
        return sum(int(offset) for worker in workers for offset in worker["reading"].values()) == delivered

    stage.wait("serving the rest", all_served, _SERVED_SECONDS)
    return delivered, delivered / float(counts[3])


def report(stage: Stage, brokers: str, delivered: int, rate: float) -> tuple[Table, bool]:
    """Verify; returns the last page, and whether all is proven."""
    proof = stage.ask("verify", note=" > verify.json")
    served = Served.read(Connection(brokers), f"{DEPLOYMENT}.audit")
    measured = changes(stage.ask("history"), proof["cuts"], served)
    title = f"{delivered:,} real flights at {rate:,.0f} requests/s, {WORKERS} workers, delay@1 → delay@2"
    if proof["requests"] != delivered:
        stage.say(f"verify saw {proof['requests']} of {delivered} requests")
    return table(title, measured, proof), bool(proof["ok"]) and proof["requests"] == delivered


def draw(page: Table, file: Path) -> None:
    """Save the last page as a picture."""
    recording = Console(record=True, width=90, file=io.StringIO(), highlight=False)
    recording.print(page)
    # A picture that looks for its font elsewhere would tell that server who looks at it.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", recording.export_svg(title="make demo"), flags=re.DOTALL)
    file.write_text(svg, "utf-8")


def demonstrate(stage: Stage, rate: float, hold: float) -> tuple[Table, bool]:
    """All of it; returns the last page, and whether every request is proven."""
    brokers = start_broker(stage)
    stage.children.environment["STREAMSPLIT_BROKERS"] = brokers
    stage.type("topics", "create")
    log = start_workers(stage)
    try:
        stage.say("What serves today: delay@1 alone.")
        stage.type("apply", "-f", "examples/serve-delay-1.yaml", "--wait")
        traffic = start_traffic(stage, brokers, rate)
        stage.let_flow(hold, traffic)
        turn_weights(stage, traffic, hold)
        delivered, reached = finish_traffic(stage, traffic)
        return report(stage, brokers, delivered, reached)
    except Failed as error:
        tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-30:])
        raise Failed(f"{error}\nThe last lines of the workers:\n{tail}") from None


def settings(folder: Path) -> dict[str, str]:
    """The variables of all processes: the user's own, without settings of another deployment."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("STREAMSPLIT_") or name in _KEPT
    }
    file = folder / "streamsplit.yaml"
    file.write_text(
        f"deployment: {DEPLOYMENT}\nslot: demo\nstart: earliest\nhealth: null\ndevelopment: true\n", "utf-8"
    )
    return environment | {"STREAMSPLIT_CONFIG": str(file)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=2000.0, help="flights a second (2000)")
    parser.add_argument("--hold", type=float, default=4.0, help="seconds between two changes of the weight (4)")
    parser.add_argument("--svg", type=Path, help="save the last page as a picture")
    chosen = parser.parse_args(arguments)
    picture = None if chosen.svg is None else chosen.svg.absolute()
    os.chdir(ROOT)
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    began = time.monotonic()
    try:
        with Children({}) as children:
            children.environment.update(settings(children.folder))
            page, proven = demonstrate(Stage(children, console), chosen.rate, chosen.hold)
    except KeyboardInterrupt:
        console.print("\nStopped; nothing is left running.")
        return 130
    except Failed as error:
        console.print(f"\n{error}", style="red", markup=False)
        return 1
    console.print()
    console.print(page)
    if picture is not None:
        draw(page, picture)
    console.print(f"Done in {time.monotonic() - began:.0f} s.")
    return 0 if proven else 1


if __name__ == "__main__":
    sys.exit(main())
