"""Data on stdout, talk on stderr."""

import json
import sys
from typing import IO

from rich.console import Console, RenderableType
from rich.table import Table

_UNBOUNDED = 240
"""Columns where no terminal cuts the lines: a pipe or a file gets whole values."""


def say(text: str) -> None:
    """A sentence for the person, on stderr."""
    _console(sys.stderr).print(text, markup=False, highlight=False, soft_wrap=True)


def show(*parts: RenderableType) -> None:
    """Tables, trees and lines, on stdout."""
    console = _console(sys.stdout)
    for part in parts:
        console.print(part, highlight=False, soft_wrap=isinstance(part, str))


def show_json(value: object) -> None:
    """One JSON document, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def show_json_line(value: object) -> None:
    """One JSON document on one line, on stdout: for those that follow each other."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table without lines, which a pipe can cut into fields."""
    return Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)


def printable(text: str) -> str:
    """A text from elsewhere, such as a name or a reason: on one line, and without what a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in text)


def screen() -> Console:
    """The console of stdout, for displays that are drawn again and again."""
    return _console(sys.stdout)


def _console(stream: IO[str]) -> Console:
    return Console(file=stream) if stream.isatty() else Console(file=stream, width=_UNBOUNDED)
