"""Rows and verdicts for people and programs: tables for the terminal, `bench.json`, a fragment of Markdown."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.goals import Verdict
from benchmarks.machine import Machine
from benchmarks.rows import FIGURES, STAGE, Row, Spread, figure, ratio, reference

_TITLES = {
    "throughput": "One worker, the pass-through and peers on the same records (median, least to greatest)",
    "latency": "From a request to its output at a read-committed consumer",
    "convergence": "From a command to its effect on two workers",
    "detection": "From a candidate's first failed request to its abort",
    "judging": "Judging closed windows, all guards (a summary every 0.2 s)",
    "scale": "How costs grow",
    "memory": "A long run of one worker",
}
_BESIDE: Mapping[str, tuple[str, ...]] = {"throughput": ("rate", "cpu_micros"), "latency": ("p50_ms", "p99_ms")}
"""Figures that are also given beside the pass-through."""

_OF_STAGES = ("summary_share",)
_STAGES = "Where the time of the thread that serves goes, by stage"


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A table.

    Attributes:
        title: Above it.
        header: Names of the columns.
        names: How many columns are words.
        lines: Cells.
    """

    title: str
    header: list[str]
    names: int
    lines: list[list[str]]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured.

    Attributes:
        machine: Where.
        options: How: the numbers given on the command line.
        rows: What.
        verdicts: The goals.
        left_out: Row or measurement → why it is missing.
    """

    machine: Machine
    options: Mapping[str, Any]
    rows: Sequence[Row]
    verdicts: Sequence[Verdict]
    left_out: Mapping[str, str]

    def show(self, console: Console) -> None:
        """Print the tables and what is missing."""
        for sheet in self._sheets():
            table = Table(title=sheet.title, title_justify="left")
            for number, name in enumerate(sheet.header):
                table.add_column(name, justify="left" if number < sheet.names else "right")
            for line in sheet.lines:
                table.add_row(*line)
            console.print(table)
        for name, reason in self.left_out.items():
            console.print(f"left out: {name}: {reason.splitlines()[0]}", markup=False, highlight=False)
        console.print(self.machine.sentence(), highlight=False)

    def save(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        plain = {
            "machine": asdict(self.machine),
            "options": dict(self.options),
            "rows": [asdict(row) for row in self.rows],
            "ratios": [
                {"source": row.source, "case": row.case, "figure": name, **asdict(spread)}
                for row in self.rows
                for name, spread in _ratios(self.rows, row).items()
            ],
            "goals": [
                {**asdict(each.goal), "value": asdict(each.value) if each.value else None, "verdict": each.word}
                for each in self.verdicts
            ],
            "left_out": dict(self.left_out),
        }
        path.write_text(json.dumps(plain, indent=1) + "\n", "utf-8")

    def markdown(self) -> str:
        """The tables as Markdown."""
        blocks = []
        for sheet in self._sheets():
            rule = ["---" if number < sheet.names else "---:" for number in range(len(sheet.header))]
            lines = [sheet.header, rule, *sheet.lines]
            blocks.append(f"{sheet.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
        return "\n\n".join([*blocks, f"Machine: {self.machine.sentence()}."])

    def _sheets(self) -> Iterator[_Sheet]:
        for source, title in _TITLES.items():
            mine = [row for row in self.rows if row.source == source]
            if mine:
                yield _sheet(title, mine, [name for name in FIGURES if name not in _OF_STAGES])
        staged = [row for row in self.rows if row.source == "throughput" and any(map(_is_stage, row.figures))]
        if staged:
            stages = sorted({name for row in staged for name in row.figures if _is_stage(name)})
            yield _sheet(_STAGES, staged, [*_OF_STAGES, *stages], beside=())
        yield _goals(self.verdicts)


def _sheet(title: str, rows: Sequence[Row], figures: Sequence[str], *, beside: Sequence[str] | None = None) -> _Sheet:
    names = list(dict.fromkeys(name for row in rows for name in row.case))
    present = {name for row in rows for name in row.figures}
    known = [name for name in figures if name in present]
    ratios = [_ratios(rows, row) for row in rows]
    if beside is None:
        beside = [name for name in _BESIDE.get(rows[0].source, ()) if any(name in each for each in ratios)]
    lines = []
    for row, mine in zip(rows, ratios, strict=True):
        line = [_case(row.case.get(name, "")) for name in names]
        line += [_spread(row, name) for name in known]
        line += [mine[name].text(2) if name in mine else "" for name in beside]
        lines.append(line)
    header = [*names, *(figure(name).heading for name in known), *(f"{figure(name).heading} ratio" for name in beside)]
    return _Sheet(title, header, len(names), lines)


def _goals(verdicts: Sequence[Verdict]) -> _Sheet:
    lines = []
    for each in verdicts:
        goal = each.goal
        places = (2 if goal.bound >= 1 else 3) if goal.by is not None else figure(goal.figure).places
        value = each.value.text(places) if each.value is not None else ""
        lines.append([goal.name, each.word, value, f"{goal.comparison} {goal.bound:g}"])
    return _Sheet("Goals", ["goal", "", "found", "bound"], 2, lines)


def _ratios(rows: Sequence[Row], row: Row) -> dict[str, Spread]:
    limit = reference(rows, row)
    names = _BESIDE.get(row.source, ())
    found = {name: ratio(row, limit, name) for name in names} if limit is not None else {}
    return {name: spread for name, spread in found.items() if spread is not None}


def _is_stage(name: str) -> bool:
    return name.startswith(STAGE)


def _spread(row: Row, name: str) -> str:
    values = row.figures.get(name)
    return Spread.of(values).text(figure(name).places) if values else ""


def _case(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else value
