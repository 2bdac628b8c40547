"""Everything that is a time, a rate or a size, measured on this machine and held against the goals.

    make bench
    python -m benchmarks.run --only throughput --repetitions 5 --peers
    python -m benchmarks.run --quick

Prints tables and a fragment of Markdown, and writes build/bench.json and two drawings beside it. docs/benchmarks.md
says what each figure means.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import judging
from benchmarks.bench import Bench
from benchmarks.goals import SOURCES, judge, read_goals
from benchmarks.loads import ROOT
from benchmarks.machine import Machine
from benchmarks.memory import BROKER
from benchmarks.plot import growth, standing
from benchmarks.report import Report
from benchmarks.trials import DEFAULT_BATCH
from streamsplit.core.errors import ServiceError, UsageError
from streamsplit.kafka.broker import DevelopmentCluster
from streamsplit.kafka.clients import LOGGER, Connection

_LEAST_REQUESTS = 50_000
_WIDTH = 200
"""Of tables that go to a file."""

_QUICK: dict[str, object] = {
    "requests": 300_000,
    "repetitions": 1,
    "latency_seconds": 5.0,
    "warm_seconds": 1.0,
    "changes": 20,
    "aborts": 10,
    "rollouts": 2,
    "windows": 100,
    "workers": [1, 2],
    "partitions": [4, 16],
    "arms": [1, 2],
    "scale_batches": [250, 1000],
    "tensors": [1_000, 64_000],
    "memory_requests": 600_000,
}
"""Says whether everything works, in a few minutes; its figures are not worth much."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 where a measurement failed, whatever the goals."""
    chosen = _chosen(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    talk = Console(stderr=True)

    def tell(line: str) -> None:
        talk.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)

    LOGGER.setLevel(logging.CRITICAL)  # a broker that has just started lets clients try again, and they say so
    machine = Machine.this()
    try:
        goals = read_goals()
        with DevelopmentCluster(properties=BROKER) as cluster, tempfile.TemporaryDirectory() as folder:
            bench = Bench(Connection(cluster.bootstrap), Path(folder), chosen, tell)
            for source in chosen.only or SOURCES:
                bench.measure(source)
    except (ServiceError, UsageError) as error:
        talk.print(f"{error}", style="red", markup=False)
        return 1
    options = {name: value for name, value in vars(chosen).items() if name != "out"}
    report = Report(machine, options, bench.rows, judge(goals, bench.rows, bench.left_out), bench.left_out)
    report.show(console)
    report.save(chosen.out)
    console.print(f"\n{report.markdown()}", markup=False, highlight=False, soft_wrap=True)
    drawn = [_draw(chosen.out, name, drawing(bench.rows)) for name, drawing in _DRAWINGS.items()]
    tell(f"{', '.join(str(path) for path in [chosen.out, *filter(None, drawn)])}: every repetition, and drawings")
    return int(bench.failed)


_DRAWINGS: dict[str, Callable[..., str]] = {"standing": standing, "growth": growth}


def _draw(beside: Path, name: str, drawing: str) -> Path | None:
    """Write a drawing; none where nothing was measured that it would show."""
    if not drawing:
        return None
    path = beside.with_name(f"{beside.stem}-{name}.svg")
    path.write_text(drawing, "utf-8")
    return path


def _chosen(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    if parser.parse_args(arguments).quick:
        parser.set_defaults(**_QUICK)
    return parser.parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SOURCES, nargs="+", metavar="WHAT", help=", ".join(SOURCES))
    parser.add_argument("--quick", action="store_true", help="small numbers for whatever is not given")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json", help="where the figures go")
    parser.add_argument("--requests", type=_requests, default=3_000_000, help="length of a backlog (3000000)")
    parser.add_argument("--repetitions", type=_positive, default=3, help="of each row with a goal, in turn (3)")
    parser.add_argument("--warm-seconds", type=float, default=4.0, help="least warm-up, from the first commit (4)")
    _throughput(parser.add_argument_group("throughput"))
    group = parser.add_argument_group("latency")
    group.add_argument("--rate", type=_positive, help="requests/s (a tenth of what a worker did)")
    group.add_argument("--latency-seconds", type=float, default=12.0, help="of each repetition (12)")
    group = parser.add_argument_group("convergence")
    group.add_argument("--changes", type=_count, default=200, help="changes of the weight (200)")
    group.add_argument("--aborts", type=_count, default=300, help="aborts (300)")
    group.add_argument("--turning-rate", type=_positive, default=1000, help="requests/s meanwhile (1000)")
    group = parser.add_argument_group("detection")
    group.add_argument("--rollouts", type=_positive, default=20, help="taken back, of each kind (20)")
    group = parser.add_argument_group("judging")
    group.add_argument("--windows", type=_positive, default=judging.WINDOWS, help="closed windows (1000)")
    _growth(parser)
    return parser


def _throughput(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--loads", nargs="+", default=["flights", "digits"], help="records (flights digits)")
    group.add_argument(
        "--batches", type=_positive, nargs="+", default=[DEFAULT_BATCH], help=f"batch.records ({DEFAULT_BATCH})"
    )
    group.add_argument("--peers", nargs="*", metavar="NAME", help="peers, too: those named, or all")


def _growth(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scale")
    numbers = {
        "workers": ([1, 2, 4], "worker processes"),
        "partitions": ([4, 16, 64], "partitions"),
        "arms": ([1, 2, 3, 4], "arms, control included"),
        "scale-batches": ([250, 1000, 4000, 16_000], "batch.records"),
        "tensors": ([1_000, 16_000, 128_000, 600_000], "bytes of a tensor"),
    }
    for name, (default, what) in numbers.items():
        shown = " ".join(map(str, default))
        group.add_argument(f"--{name}", type=_positive, nargs="*", default=default, help=f"{what} ({shown})")
    group = parser.add_argument_group("memory")
    group.add_argument("--memory-requests", type=_requests, default=10_000_000, help="of the long run (10000000)")


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
