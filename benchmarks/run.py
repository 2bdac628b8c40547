"""Everything that is a time, measured on this machine.

    make bench
    python benchmarks/run.py --only throughput --repetitions 3

Prints tables and a fragment of Markdown, and writes build/bench.json. docs/benchmarks.md says what each figure means.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import convergence, throughput
from benchmarks.ground import ROOT
from benchmarks.machine import Machine
from benchmarks.report import Report, convergence_rows, throughput_rows
from streamsplit.core.errors import ServiceError, UsageError
from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.clients import Connection

_LEAST_REQUESTS = 50_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    console, talk = Console(), Console(stderr=True)

    def tell(line: str) -> None:
        talk.print(line, style="dim", highlight=False)

    machine = Machine.this()
    runs: tuple[throughput.Run, ...] = ()
    cuts: tuple[convergence.Convergence, ...] = ()
    try:
        with DevelopmentCluster() as cluster:
            connection = Connection(cluster.bootstrap)
            if chosen.only in {None, "throughput"}:
                runs = throughput.measure(connection, chosen.requests, chosen.repetitions, chosen.batches, tell)
            if chosen.only in {None, "convergence"}:
                cuts = convergence.measure(
                    connection, changes=chosen.changes, aborts=chosen.aborts, rate=chosen.rate, tell=tell
                )
    except (ServiceError, UsageError) as error:
        talk.print(f"{error}", style="red", markup=False)
        return 1
    options = {name: value for name, value in vars(chosen).items() if name not in {"out", "only"}}
    report = Report(machine, options, throughput_rows(runs), convergence_rows(cuts), runs, cuts)
    report.show(console)
    report.save(chosen.out)
    console.print(f"\n{report.markdown()}", markup=False, highlight=False, soft_wrap=True)
    tell(f"{chosen.out} has every repetition and every command")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("throughput", "convergence"), help="one of the two; both without it")
    parser.add_argument("--requests", type=_requests, default=400_000, help="length of the backlog (400000)")
    parser.add_argument("--repetitions", type=_positive, default=5, help="of each, worker and limit in turn (5)")
    parser.add_argument("--batches", type=_positive, nargs="+", default=[1000, 4000], help="batch.records (1000 4000)")
    parser.add_argument("--changes", type=_count, default=300, help="changes of the weight (300)")
    parser.add_argument("--aborts", type=_count, default=300, help="aborts (300)")
    parser.add_argument("--rate", type=_positive, default=1000, help="requests a second meanwhile (1000)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json", help="where the figures go")
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, found {number}")
    return number


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number


def _requests(text: str) -> int:
    if (number := int(text)) < _LEAST_REQUESTS:
        raise argparse.ArgumentTypeError(f"expected at least {_LEAST_REQUESTS}, found {number}: it must last seconds")
    return number


if __name__ == "__main__":
    sys.exit(main())
