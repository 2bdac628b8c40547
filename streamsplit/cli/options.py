"""Options that several verbs share, and how their examples are written."""

import enum
from typing import Annotated

import typer


class Format(enum.StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="How data is printed.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why, for the history.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Return when every ready worker follows it; exit 1 when not in time.")
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that --wait waits.")]


def example(*lines: str) -> str:
    """The epilog of a help page: examples, a line each."""
    return "\n\n".join(["[bold]Examples[/bold]" if len(lines) > 1 else "[bold]Example[/bold]", *lines])
