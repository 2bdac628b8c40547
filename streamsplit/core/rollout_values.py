"""The single values of one part of a rollout file, each read with its bounds; what is not given keeps its default."""

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from streamsplit.core.findings import Findings, Path, nearest, show
from streamsplit.core.quantities import QuantityError, duration, share

Word = TypeVar("Word", bound=enum.StrEnum)

NONE = "none"
"""The word for no limit."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a value may lie.

    Attributes:
        expected: What would be right, for the message.
        low: Least value.
        high: Greatest value.
        above: Whether `low` itself is too little.
        below: Whether `high` itself is too much.
    """

    expected: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def hold(self, value: float) -> bool:
        """Whether a value lies within; NaN and infinities never do."""
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return over and under and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Fields:
    """One part of the file.

    Attributes:
        found: Collects what is wrong.
        path: Where the part is.
        given: Its entries, without unknown ones.
    """

    found: Findings
    path: Path
    given: Mapping[str, object]

    @classmethod
    def read(cls, found: Findings, value: object, path: Path, known: Sequence[str], expected: str) -> "Fields":
        """Reads a mapping whose fields are known; see `Findings.mapping`."""
        return cls(found, path, found.mapping(value, path, known, expected))

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def at(self, name: str) -> Path:
        """The path of a field."""
        return (*self.path, name)

    def duration(self, name: str, default: float, bounds: Bounds) -> float:
        """A duration such as `5s`, in seconds."""
        return self._quantity(name, default, bounds, duration)

    def share(self, name: str, default: float, bounds: Bounds) -> float:
        """A percentage with its sign such as `0.1%`, as a share of 1."""
        return self._quantity(name, default, bounds, share)

    def number(self, name: str, default: float, bounds: Bounds) -> float:
        """A number without sign or unit."""
        return self._quantity(name, default, bounds, number)

    def largest_share(self, name: str, default: float | None, bounds: Bounds) -> float | None:
        """A limit as a percentage with its sign, or `none`."""
        return self._limit(name, default, bounds, share)

    def longest(self, name: str, default: float | None, bounds: Bounds) -> float | None:
        """A limit as a duration, in seconds, or `none`."""
        return self._limit(name, default, bounds, duration)

    def flag(self, name: str) -> bool:
        """`true` or `false`; false unless given."""
        value = self.given.get(name, False)
        if not isinstance(value, bool):
            self.found.wrong(self.at(name), value, "`true` or `false`")
        return value is True

    def word(self, name: str, default: Word) -> Word:
        """One of the few words that the default is one of."""
        words = tuple(type(default))
        value = self.given.get(name, default)
        if isinstance(value, str) and value in words:
            return type(default)(value)
        meant = nearest(value, words) if isinstance(value, str) else None
        message = "nothing is given" if value is None else f"{show(value)} is not valid here"
        self.found.add(self.at(name), message, " or ".join(f"`{word}`" for word in words), meant)
        return default

    def _limit(self, name: str, default: float | None, bounds: Bounds, read: Callable[[object], float]) -> float | None:
        if name not in self.given:
            return default
        return None if self.given[name] == NONE else self._quantity(name, bounds.low, bounds, read)

    def _quantity(self, name: str, default: float, bounds: Bounds, read: Callable[[object], float]) -> float:
        if name not in self.given:
            return default
        value = self.given[name]
        try:
            quantity = read(value)
        except QuantityError as wrong:
            message = "nothing is given" if value is None else wrong.message
            self.found.add(self.at(name), message, bounds.expected)
            return default
        if bounds.hold(quantity):
            return quantity
        self.found.add(self.at(name), f"{show(value)} is out of bounds", bounds.expected)
        return default


def number(value: object) -> float:
    """Reads a finite number.

    Raises:
        QuantityError: It is none.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            given = float(value)
        except OverflowError:
            given = math.inf
        if math.isfinite(given):
            return given
    raise QuantityError(f"{show(value)} is no finite number", "a finite number")
