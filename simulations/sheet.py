"""A table for the terminal and for Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table.

    Attributes:
        title: Above it.
        note: What its columns mean, one or two sentences.
        header: Names of the columns; the first are words, as many as `words`.
        lines: Cells.
        words: Columns that are aligned to the left.
        failed: Sentences on what is not as it should be.
    """

    title: str
    note: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    words: int
    failed: Sequence[str] = ()

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(title=self.title, caption=self.note, title_justify="left", caption_justify="left")
        for place, name in enumerate(self.header):
            table.add_column(name, justify="left" if place < self.words else "right")
        for line in self.lines:
            table.add_row(*line)
        console.print(table)
        for sentence in self.failed:
            console.print(sentence, style="red", markup=False)

    def markdown(self) -> str:
        """The same as a section of a page."""
        rule = ["---" if place < self.words else "---:" for place in range(len(self.header))]
        rows = [f"| {' | '.join(cells)} |" for cells in (self.header, rule, *self.lines)]
        wrong = [f"- **{sentence}**" for sentence in self.failed]
        return "\n".join([f"## {self.title}", "", self.note, "", *rows, *(["", *wrong] if wrong else []), ""])


def share(part: int, whole: int) -> str:
    """A percentage."""
    return f"{100 * part / whole:.1f} %"
