"""Figures as rows: a table for the terminal, `bench.json`, a fragment of Markdown."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.convergence import GOAL_MS, Convergence
from benchmarks.machine import Machine
from benchmarks.throughput import PASS_THROUGH, STREAMSPLIT, Run
from streamsplit.core.commands import Kind

_NAMES = {Kind.SET_WEIGHT: "weight change", Kind.ABORT: "abort"}
_SIDES = {"old_ms": "last request the old way", "new_ms": "in force on every partition"}


@dataclass(frozen=True, slots=True)
class Spread:
    """Several repetitions of one figure.

    Attributes:
        median: Of them.
        low: The least.
        high: The greatest.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values))

    def text(self, places: int) -> str:
        """As `median (low to high)`."""
        return f"{self.median:,.{places}f} ({self.low:,.{places}f} to {self.high:,.{places}f})"


@dataclass(frozen=True, slots=True)
class Throughput:
    """The repetitions of one subject at one batch size.

    Attributes:
        subject: Who.
        batch: Setting of `batch.records`.
        repetitions: How many.
        rate: Requests a second.
        cpu_micros: CPU time of a request in microseconds, all its processes together, brokers left out.
        mean_batch: Requests in a transaction; None for the pass-through, whose batches are full.
        rate_ratio: Its rate by the pass-through's, medians of pairs; None for the pass-through itself.
        cpu_ratio: Its CPU time by the pass-through's, likewise.
    """

    subject: str
    batch: int
    repetitions: int
    rate: Spread
    cpu_micros: Spread
    mean_batch: float | None = None
    rate_ratio: float | None = None
    cpu_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How long one kind of command took to be in force, milliseconds.

    Attributes:
        command: What was commanded.
        until: Which end of the cut.
        count: Commands.
        p50: Median.
        p99: 99th percentile, the least value that 99 % do not exceed.
        maximum: The greatest.
        goal_ms: What `p99` may be at most; None where no goal is held against it.
    """

    command: str
    until: str
    count: int
    p50: float
    p99: float
    maximum: float
    goal_ms: int | None

    @property
    def verdict(self) -> str:
        """Whether the goal is met."""
        if self.goal_ms is None:
            return ""
        return f"p99 <= {self.goal_ms} ms: {'met' if self.p99 <= self.goal_ms else 'missed'}"


def throughput_rows(runs: Sequence[Run]) -> tuple[Throughput, ...]:
    """One row for each subject and batch size; a repetition's ratio is to the pass-through that ran next to it."""
    rows = []
    for batch in dict.fromkeys(run.batch for run in runs):
        mine = [run for run in runs if (run.subject, run.batch) == (STREAMSPLIT, batch)]
        limit = [run for run in runs if (run.subject, run.batch) == (PASS_THROUGH, batch)]
        pairs = list(zip(mine, limit, strict=True))
        rows.append(_row(PASS_THROUGH, batch, limit))
        rows.append(
            _row(
                STREAMSPLIT,
                batch,
                mine,
                mean_batch=median(run.written.batch for run in mine if run.written is not None),
                rate_ratio=median(one.stretch.rate / other.stretch.rate for one, other in pairs),
                cpu_ratio=median(one.stretch.cpu_micros / other.stretch.cpu_micros for one, other in pairs),
            )
        )
    return tuple(rows)


def _row(subject: str, batch: int, runs: Sequence[Run], **more: float) -> Throughput:
    rate = Spread.of([run.stretch.rate for run in runs])
    cpu = Spread.of([run.stretch.cpu_micros for run in runs])
    return Throughput(subject, batch, len(runs), rate, cpu, **more)


def convergence_rows(found: Sequence[Convergence]) -> tuple[Quantiles, ...]:
    """Both ends of the cut for each kind of command; the goal is held against the later one."""
    return tuple(
        _quantiles(each, side, GOAL_MS if side == "new_ms" else None) for each in found for side in ("old_ms", "new_ms")
    )


def _quantiles(found: Convergence, side: str, goal: int | None) -> Quantiles:
    values = found.column(side)
    p50, p99 = (float(np.quantile(values, share, method="inverted_cdf")) for share in (0.5, 0.99))
    return Quantiles(_NAMES[found.kind], _SIDES[side], len(values), p50, p99, float(values.max()), goal)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured.

    Attributes:
        machine: Where.
        options: How: the numbers given on the command line.
        throughput: Rows.
        convergence: Rows.
        runs: The repetitions behind the first.
        cuts: The commands behind the second.
    """

    machine: Machine
    options: dict[str, Any]
    throughput: Sequence[Throughput]
    convergence: Sequence[Quantiles]
    runs: Sequence[Run]
    cuts: Sequence[Convergence]

    def show(self, console: Console) -> None:
        """Print the tables."""
        for title, header, rows in self._tables():
            table = Table(title=title, title_justify="left")
            for name in header:
                table.add_column(name, justify="right" if name != header[0] else "left")
            for row in rows:
                table.add_row(*row)
            console.print(table)
        console.print(self.machine.sentence())

    def save(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    def markdown(self) -> str:
        """The tables as Markdown."""
        blocks = []
        for title, header, rows in self._tables():
            lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
            blocks.append(f"{title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
        return "\n\n".join([*blocks, f"Machine: {self.machine.sentence()}."])

    def _tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        if self.throughput:
            yield (
                "One worker beside the pass-through (median, least to greatest)",
                ["", "batch.records", "requests/s", "CPU µs/request", "rate ratio", "CPU ratio"],
                [_cells(row) for row in self.throughput],
            )
        if self.convergence:
            yield (
                "From a command to its effect on two workers",
                ["", "until", "n", "p50 ms", "p99 ms", "max ms", "goal"],
                [
                    [row.command, row.until, f"{row.count}", *_whole(row.p50, row.p99, row.maximum), row.verdict]
                    for row in self.convergence
                ],
            )


def _cells(row: Throughput) -> list[str]:
    ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in (row.rate_ratio, row.cpu_ratio)]
    return [row.subject, f"{row.batch}", row.rate.text(0), row.cpu_micros.text(1), *ratios]


def _whole(*values: float) -> list[str]:
    return [f"{value:.0f}" for value in values]
