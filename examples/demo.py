"""A real Kafka, real flights, three rollouts left to the judge: a better model and two bad ones; all of it is proven.

    python examples/demo.py

Everything it starts ends with it, also by Ctrl-C. Exit 0 when the judge decided all three rightly and every request was
answered exactly once by the right arm.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.demo_children import Children
from examples.demo_page import draw, table
from examples.demo_results import Served, outcome
from examples.demo_stage import STREAMSPLIT, Failed, Stage
from examples.demo_trials import TRIALS, judged
from streamsplit.cli.chronicle import chronicle
from streamsplit.cli.recalling import pick
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.topics import Topics
from streamsplit.offline.decisions import DecisionLog
from streamsplit.offline.history import read_history
from streamsplit.wire.schemas import SchemaStore

ROOT = Path(__file__).parents[1]
DEPLOYMENT = "flights"
TOPICS = Topics(DEPLOYMENT)
WORKERS = 2
_JUDGED_SECONDS = 180.0
"""For one rollout: four times what the longest takes on two cores."""

_SERVED_SECONDS = 60.0
_KEPT = {"STREAMSPLIT_MAVEN_URL"}
"""The only one of the user's own StreamSplit variables that the demonstration heeds."""


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
    words = ("--brokers", brokers, "--topic", TOPICS.requests, "--rate", f"{rate:g}")
    command = stage.show(sys.executable, "-m", "examples.flights", *words, note=" &")
    return stage.children.start(command, stop=signal.SIGINT)


def leave_to_the_judge(stage: Stage, traffic: subprocess.Popen[str], connection: Connection, hold: float) -> None:
    """A better model and two bad ones: nobody types anything but `apply`."""
    for trial in TRIALS:
        entries = partial(read_history, connection, TOPICS.control)
        ending = judged(stage, traffic, entries, trial, _JUDGED_SECONDS)
        if trial.guard == "score":
            stage.type("explain", ending["decision"])
        stage.let_flow(hold, traffic)
    stage.type("get")


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


def report(stage: Stage, connection: Connection, delivered: int, rate: float) -> tuple[Table, bool]:
    """Verify; returns the last page, and whether all decisions were right and all is proven."""
    proof = stage.ask("verify", note=" > verify.json")
    history = [row for row in chronicle(read_history(connection, TOPICS.control)) if row["accepted"]]
    served = Served.read(connection, TOPICS.audit)
    decisions = DecisionLog(connection, TOPICS.decisions, SchemaStore())
    outcomes = []
    for trial in TRIALS:
        mine = [row for row in history if row["rollout"] == trial.rollout]
        (decision,) = pick(decisions.newest_first(), mine[-1]["decision"])
        outcomes.append(outcome(mine, decision, proof, served))
    right = all(trial.expected(each.phase, each.guard) for trial, each in zip(TRIALS, outcomes, strict=True))
    if not right:
        stage.say("A decision was not the one that was expected, or not for its reason.")
    if proof["requests"] != delivered:
        stage.say(f"verify saw {proof['requests']} of {delivered} requests")
    title = (
        f"{delivered:,} real flights at {rate:,.0f} requests/s, {WORKERS} workers, three rollouts, left to the judge"
    )
    proven = bool(proof["ok"]) and proof["requests"] == delivered
    return table(title, TRIALS, outcomes, proof), proven and right


def demonstrate(stage: Stage, rate: float, hold: float) -> tuple[Table, bool]:
    """All of it; returns the last page, and whether all decisions were right and all is proven."""
    brokers = start_broker(stage)
    stage.children.environment["STREAMSPLIT_BROKERS"] = brokers
    stage.type("topics", "create")
    log = start_workers(stage)
    try:
        stage.say("What serves today: delay@1 alone.")
        stage.type("apply", "-f", "examples/serve-delay-1.yaml", "--wait")
        traffic = start_traffic(stage, brokers, rate)
        stage.let_flow(hold, traffic)
        connection = Connection(brokers)
        leave_to_the_judge(stage, traffic, connection, hold)
        delivered, reached = finish_traffic(stage, traffic)
        return report(stage, connection, delivered, reached)
    except (Failed, ServiceError) as error:
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
    parser.add_argument("--hold", type=float, default=2.0, help="seconds of traffic between two rollouts (2)")
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
