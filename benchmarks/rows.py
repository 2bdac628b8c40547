"""What was measured, as rows of figures: one value a repetition; their spread, and ratios within a repetition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Case = Mapping[str, str | int]
"""What a row is about, such as `{"subject": "StreamSplit", "load": "flights", "batch": 1000}`."""

STREAMSPLIT, PASS_THROUGH = "StreamSplit", "pass-through"
TIGHT = f"{PASS_THROUGH}, tight"
"""Without a step of the interpreter for each record: the limit of the client itself."""

WITH_HEADERS = ", two headers"
"""Behind the subjects whose requests bear two headers, which go on to the outputs."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How one kind of figure is shown.

    Attributes:
        heading: For a table.
        places: Decimal places.
    """

    heading: str
    places: int


FIGURES: Mapping[str, Figure] = {
    "rate": Figure("requests/s", 0),
    "cpu_micros": Figure("CPU µs/request", 1),
    "mean_batch": Figure("requests/commit", 0),
    "commit_ms": Figure("ms between commits", 1),
    "summary_share": Figure("summaries, share of all CPU", 4),
    "summary_bytes": Figure("bytes/summary", 0),
    "summary_bytes_request": Figure("summary bytes/request", 2),
    "output_bytes": Figure("output bytes", 0),
    "audit_bytes": Figure("audit bytes", 0),
    "p50_ms": Figure("p50 ms", 1),
    "p99_ms": Figure("p99 ms", 1),
    "max_ms": Figure("max ms", 1),
    "count": Figure("n", 0),
    "rss_mb": Figure("RSS MB", 0),
    "rss_growth": Figure("RSS, last quarter by second", 3),
    "judging_s": Figure("CPU s/1000 windows", 2),
    "state_kb": Figure("state KB", 1),
}
"""Every figure that a row may have; stages of the worker come as `cpu:<stage>`."""

STAGE = "cpu:"


def figure(name: str) -> Figure:
    """How a figure is shown.

    Raises:
        KeyError: There is no such figure.
    """
    if name.startswith(STAGE):
        return Figure(f"{name.removeprefix(STAGE)} µs", 2)
    return FIGURES[name]


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
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values))

    def text(self, places: int) -> str:
        """As `median (low to high)`, or the median alone where all read the same."""
        middle, low, high = (f"{value:,.{places}f}" for value in (self.median, self.low, self.high))
        return middle if low == high else f"{middle} ({low} to {high})"


@dataclass(frozen=True, slots=True)
class Row:
    """One subject under one condition.

    Attributes:
        source: The measurement: `throughput`, `latency`, `convergence`, `detection`, `judging`, `scale` or `memory`.
        case: What it is about.
        figures: Name of a figure → one value for each repetition, in their order.
    """

    source: str
    case: Case
    figures: Mapping[str, tuple[float, ...]]


class Ledger:
    """Takes figures repetition by repetition, and gives rows in the order of their first figures."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._figures: dict[tuple[tuple[str, str | int], ...], dict[str, list[float]]] = {}

    def add(self, case: Case, figures: Mapping[str, float]) -> None:
        """Note one repetition."""
        columns = self._figures.setdefault(tuple(case.items()), {})
        for name, value in figures.items():
            figure(name)
            columns.setdefault(name, []).append(value)

    def rows(self) -> tuple[Row, ...]:
        """All of it."""
        return tuple(
            Row(self._source, dict(case), {name: tuple(values) for name, values in columns.items()})
            for case, columns in self._figures.items()
        )


def durations(milliseconds: NDArray[np.integer[Any]]) -> dict[str, float]:
    """Their figures; a quantile is an observed value, the least that so many do not exceed.

    Args:
        milliseconds: (n,), at least one.
    """
    p50, p99 = (float(np.quantile(milliseconds, share, method="inverted_cdf")) for share in (0.5, 0.99))
    return {"count": len(milliseconds), "p50_ms": p50, "p99_ms": p99, "max_ms": float(milliseconds.max())}


def find(rows: Sequence[Row], source: str, case: Case) -> Row | None:
    """The row of exactly this case; None where it was not measured."""
    return next((row for row in rows if row.source == source and row.case == case), None)


def ratio(of: Row, by: Row, name: str) -> Spread | None:
    """A figure of one row by that of another, each repetition by the same repetition.

    Returns:
        Their spread; None where a row lacks the figure or a repetition of it.
    """
    above, below = of.figures.get(name, ()), by.figures.get(name, ())
    if not above or len(above) != len(below) or not all(below):
        return None
    return Spread.of([one / other for one, other in zip(above, below, strict=True)])


def reference(rows: Sequence[Row], row: Row) -> Row | None:
    """The pass-through that a row is held against: same load and batch, with headers where the row has them."""
    subject = row.case.get("subject")
    if not isinstance(subject, str) or subject in {PASS_THROUGH, PASS_THROUGH + WITH_HEADERS}:
        return None
    limit = PASS_THROUGH + (WITH_HEADERS if subject.endswith(WITH_HEADERS) else "")
    return find(rows, row.source, {**row.case, "subject": limit})
