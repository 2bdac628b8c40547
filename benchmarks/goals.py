"""The goals of `goals.yaml`, each held against what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML

from benchmarks.rows import Case, Row, Spread, figure, find, ratio
from streamsplit.core.errors import UsageError

FILE = Path(__file__).with_name("goals.yaml")
SOURCES = ("throughput", "latency", "convergence", "detection", "judging", "scale", "memory")
AT_MOST, AT_LEAST = "<=", ">="


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal.

    Attributes:
        name: For a person.
        source: The measurement that its figure is from.
        figure: Name of the figure.
        of: Case of the row.
        comparison: `<=` or `>=`.
        bound: What the median of the repetitions is held against.
        by: Case of the row that the figure is divided by, repetition by repetition; None for the figure itself.
    """

    name: str
    source: str
    figure: str
    of: Case
    comparison: str
    bound: float
    by: Case | None = None

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Read an entry of the file.

        Raises:
            UsageError: A field is missing, unknown or of a wrong kind.
        """
        known = [field.name for field in fields(cls)]
        if wrong := [*(set(plain) - set(known)), *(name for name in known[:-1] if name not in plain)]:
            raise UsageError(f"{FILE.name}: {plain.get('name')!r}: {wrong[0]!r}: expected {', '.join(known)}")
        goal = cls(**plain)
        if goal.comparison not in {AT_MOST, AT_LEAST} or goal.source not in SOURCES:
            raise UsageError(f"{FILE.name}: {goal.name!r}: expected <= or >=, and one of {', '.join(SOURCES)}")
        try:
            figure(goal.figure)
        except KeyError:
            raise UsageError(f"{FILE.name}: {goal.name!r}: no row has a figure {goal.figure!r}") from None
        return goal


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and what became of it.

    Attributes:
        goal: The goal.
        value: Its figure or ratio; None where it was not measured.
        reason: Why it was not measured; empty where it was.
    """

    goal: Goal
    value: Spread | None
    reason: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the bound; None where it was not measured."""
        if self.value is None:
            return None
        median, bound = self.value.median, self.goal.bound
        return median <= bound if self.goal.comparison == AT_MOST else median >= bound

    @property
    def word(self) -> str:
        """`met`, `missed`, or why there is nothing to say."""
        return {True: "met", False: "missed", None: f"not measured: {self.reason}"}[self.met]


def read_goals(path: Path = FILE) -> tuple[Goal, ...]:
    """The goals of a file.

    Raises:
        UsageError: An entry is wrong; the message names it.
    """
    return tuple(Goal.from_dict(entry) for entry in YAML(typ="safe", pure=True).load(path))


def judge(goals: Sequence[Goal], rows: Sequence[Row], left_out: Mapping[str, str]) -> tuple[Verdict, ...]:
    """Hold every goal against the rows.

    Args:
        goals: All of them.
        rows: Everything that was measured.
        left_out: Subject or source → why it was left out.
    """
    return tuple(_judge(goal, rows, left_out) for goal in goals)


def _judge(goal: Goal, rows: Sequence[Row], left_out: Mapping[str, str]) -> Verdict:
    cases = [goal.of, *([goal.by] if goal.by is not None else [])]
    found = [row for case in cases if (row := find(rows, goal.source, case)) is not None]
    if len(found) < len(cases):
        subjects = [*(str(case.get("subject")) for case in cases), goal.source]
        reasons = [left_out[name].splitlines()[0] for name in subjects if left_out.get(name)]
        return Verdict(goal, None, reasons[0] if reasons else f"no such row in this run (--only {goal.source})")
    value = _own(found[0], goal.figure) if goal.by is None else ratio(found[0], found[1], goal.figure)
    return Verdict(goal, value, "" if value else f"no {figure(goal.figure).heading} in every repetition")


def _own(row: Row, name: str) -> Spread | None:
    values = row.figures.get(name)
    return Spread.of(values) if values else None
