"""A row of numbers as a line of block characters, as wide as there is room for."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment

_BLOCKS, _NO_BLOCK = "▁▂▃▄▅▆▇█", "·"
_LETTERS, _NO_LETTER = "_.:-=+*#", " "
"""For terminals that know ASCII alone."""

_LEAST_WIDTH = 8


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A plot one line high, which needs no colour.

    Attributes:
        count: How many values there are.
        of: The value of the stretch [start, end) of them, one or several; None where there is none.
        low: What the lowest block stands for, and everything below.
        high: What the highest block stands for, and everything above.
    """

    count: int
    of: Callable[[int, int], float | None]
    low: float
    high: float

    def text(self, width: int, *, ascii_only: bool = False) -> str:
        """The line: a character for each value, or for each of `width` stretches where that is less."""
        blocks, nothing = (_LETTERS, _NO_LETTER) if ascii_only else (_BLOCKS, _NO_BLOCK)
        columns = max(1, min(self.count, width)) if self.count else 0
        edges = [column * self.count // columns for column in range(columns + 1)] if columns else []
        return "".join(self._block(self.of(start, end), blocks, nothing) for start, end in pairwise(edges))

    def _block(self, value: float | None, blocks: str, nothing: str) -> str:
        if value is None or math.isnan(value):
            return nothing
        if value >= self.high > self.low:
            return blocks[-1]
        if value <= self.low or self.high <= self.low:
            return blocks[0]
        # In halves: the whole way between two numbers may be too long for one.
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return blocks[min(int(share * len(blocks)), len(blocks) - 1)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As Rich draws it."""
        yield Segment(self.text(options.max_width, ascii_only=options.ascii_only))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As Rich lays it out."""
        return Measurement(min(self.count, _LEAST_WIDTH), self.count).with_maximum(options.max_width)
