"""The control log as a person reads it: a line for each command, its reason, and what `explain` takes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from streamsplit.cli.console import plain_table, printable
from streamsplit.cli.decision_view import SHORT

_COLUMNS = ("revision", "time", "rollout", "command", "result", "split", "actor")
_ONE_LINE = 160
"""Columns of a screen from which on the reason finds room beside all others."""

_INDENT = 10
_COMMAND_ID = 24
"""Characters of a judge's command id, more than it has below a million million commands."""


def render(rows: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    """The page.

    Args:
        rows: Of `chronicle`.
        width: Columns of the screen; on a narrow one reason and decision have a line below.
    """
    return _wide(rows) if width >= _ONE_LINE else Group(*_narrow(rows))


def name_of(row: Mapping[str, Any]) -> str:
    """What `explain` takes for the decision of a row: of a command its id, of a decision how its id begins."""
    length = SHORT if row["kind"] == "decision" else _COMMAND_ID
    return printable((row["decision"] or "")[:length])


def _wide(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = plain_table(*_COLUMNS, "reason")
    with_decisions = any(row["decision"] for row in rows)
    if with_decisions:
        table.add_column("decision", no_wrap=True)
    for row in rows:
        cells = [*map(Text, _cells(row)), Text(printable(row["reason"] or ""))]
        table.add_row(*cells, *([name_of(row)] if with_decisions else []), style=_style(row))
    return table


def _narrow(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    cells = [_COLUMNS, *map(_cells, rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    yield Text(_line(_COLUMNS, widths), style="bold")
    for row, said in zip(rows, cells[1:], strict=True):
        yield Text(_line(said, widths), style=_style(row))
        if row["reason"]:
            yield Padding(Text(printable(row["reason"]), style=_style(row)), (0, 0, 0, _INDENT))
        if row["decision"]:
            yield Padding(Text(f"streamsplit explain {name_of(row)}", style="dim"), (0, 0, 0, _INDENT))


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """All but reason and decision; times are UTC."""
    said = {**row, "time": row["time"].replace("T", " ").partition(".")[0]}
    return tuple("" if said[name] is None else printable(str(said[name])) for name in _COLUMNS)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _style(row: Mapping[str, Any]) -> str:
    return "" if row["accepted"] else "dim"
