"""A walker: an Avro schema compiled into nodes that move over records of it.

Every node knows two ways. `walk` moves all records of a batch in lockstep and returns what was wanted of them as
columns. `check` moves over one record alone and says what is wrong with it. `walk` takes nothing that `check` refuses;
it may leave more, such as a record of many more items than the others. Both are stricter than most Avro readers: no
negative lengths, no integers of more than ten bytes, no index out of range.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamsplit.core.errors import DataError
from streamsplit.wire.lanes import FEW, Ints, Lanes

INT64_MIN = -(2**63)


@dataclass(frozen=True, slots=True)
class Spans:
    """Where strings, bytes or fixed values lie in the buffer.

    Attributes:
        start: int64 (k,).
        length: int64 (k,), bytes.
    """

    start: Ints
    length: Ints


@dataclass(frozen=True, slots=True)
class Some:
    """A column of some of the records.

    Attributes:
        which: int64 (j,), indices of these records among those the parent column has.
        column: Their values.
        keys: The keys of a map's entries.
    """

    which: Ints
    column: "Column"
    keys: Spans | None = None


Column = Ints | Spans | Mapping[str, "Column"] | Sequence[Some] | None
"""Integers and enum indices; spans; a record's fields; items of an array or map (one `Some` a round, in order) or
branches of a union (one `Some` a branch, empty ones too); None for what was not wanted."""


class Node(Protocol):
    """One type of a writer's schema."""

    @property
    def least(self) -> int:
        """Fewest bytes a value takes."""

    @property
    def width(self) -> int | None:
        """Bytes of a value where all take the same; else None."""

    def walk(self, lanes: Lanes) -> Column:
        """Move all records over one value; those that do not fit leave."""

    def check(self, data: bytes, pos: int, end: int) -> int:
        """Move over one value of `data[pos:end]` and return where it ends.

        Raises:
            DataError: The bytes are not of this type.
        """


def malformed(path: str, what: str) -> DataError:
    """What a record gets whose bytes are not of its schema."""
    return DataError("decode", f"malformed Avro at {path or 'the top'}: {what}")


def read_varint(data: bytes, pos: int, end: int, path: str) -> tuple[int, int]:
    """Read one zigzag integer of at most ten bytes; returns it and where it ends."""
    value = shift = 0
    while True:
        if pos >= end:
            raise malformed(path, "the record ends within an integer")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            break
        shift += 7
        if shift > 63:  # noqa: PLR2004 - ten groups of seven bits
            raise malformed(path, "an integer of more than ten bytes")
    if value >> 64:
        raise malformed(path, "an integer of more than 64 bits")
    return (value >> 1) ^ -(value & 1), pos


def _advance(pos: int, length: int, end: int, path: str) -> int:
    if length < 0 or length > end - pos:
        raise malformed(path, f"a length of {length} bytes where {end - pos} are left")
    return pos + length


@dataclass(frozen=True, slots=True)
class Number:
    """`int`, `long`, and the index of an `enum` of `symbols` symbols."""

    path: str
    wanted: bool
    symbols: int | None = None
    least: int = 1
    width: int | None = None

    def walk(self, lanes: Lanes) -> Column:
        """See `Node`."""
        value = lanes.varint()
        if self.symbols is not None:
            outside = (value < 0) | (value >= self.symbols)
            if outside.any():
                lanes.leave(outside)
        return value if self.wanted else None

    def check(self, data: bytes, pos: int, end: int) -> int:
        """See `Node`."""
        value, pos = read_varint(data, pos, end, self.path)
        if self.symbols is not None and not 0 <= value < self.symbols:
            raise malformed(self.path, f"symbol {value} of an enum of {self.symbols}")
        return pos


@dataclass(frozen=True, slots=True)
class Text:
    """`string` and `bytes`; whether a string is UTF-8 is asked only of what is used."""

    path: str
    wanted: bool
    least: int = 1
    width: int | None = None

    def walk(self, lanes: Lanes) -> Column:
        """See `Node`."""
        length = lanes.varint()
        start = lanes.pos.copy() if self.wanted else None
        lanes.advance(length)
        return Spans(start, length) if start is not None else None

    def check(self, data: bytes, pos: int, end: int) -> int:
        """See `Node`."""
        length, pos = read_varint(data, pos, end, self.path)
        return _advance(pos, length, end, self.path)


@dataclass(frozen=True, slots=True)
class Fixed:
    """`null`, `boolean`, `float`, `double` and `fixed`: always `least` bytes."""

    path: str
    wanted: bool
    least: int

    @property
    def width(self) -> int | None:
        """See `Node`."""
        return self.least

    def walk(self, lanes: Lanes) -> Column:
        """See `Node`."""
        length = np.full(len(lanes), self.least, np.int64)
        start = lanes.pos.copy() if self.wanted else None
        lanes.advance(length)
        return Spans(start, length) if start is not None else None

    def check(self, data: bytes, pos: int, end: int) -> int:
        """See `Node`."""
        del data
        return _advance(pos, self.least, end, self.path)


@dataclass(frozen=True, slots=True)
class Record:
    """`record`: its fields in the writer's order."""

    fields: tuple[tuple[str, Node], ...]
    wanted: bool
    least: int
    width: int | None

    def walk(self, lanes: Lanes) -> Column:
        """See `Node`."""
        columns = {name: node.walk(lanes) for name, node in self.fields}
        return columns if self.wanted else None

    def check(self, data: bytes, pos: int, end: int) -> int:
        """See `Node`."""
        for _, node in self.fields:
            pos = node.check(data, pos, end)
        return pos


@dataclass(frozen=True, slots=True)
class Union:
    """`union`: the index of a branch, then its value."""

    path: str
    branches: tuple[Node, ...]
    wanted: bool
    least: int = 1
    width: int | None = None

    def walk(self, lanes: Lanes) -> Column:
        """See `Node`."""
        index = lanes.varint()
        outside = (index < 0) | (index >= len(self.branches))
        if outside.any():
            lanes.leave(outside)
        columns = []
        for number, node in enumerate(self.branches):
            which = np.flatnonzero(index == number)
            column = None
            if which.size:
                some = lanes.take(which)
                column = node.walk(some)
                lanes.put(which, some)
            columns.append(Some(which, column))
        return columns if self.wanted else None

    def check(self, data: bytes, pos: int, end: int) -> int:
        """See `Node`."""
        index, pos = read_varint(data, pos, end, self.path)
        if not 0 <= index < len(self.branches):
            raise malformed(self.path, f"branch {index} of a union of {len(self.branches)}")
        return self.branches[index].check(data, pos, end)


@dataclass(frozen=True, slots=True)
class Blocks:
    """`array` and `map`: blocks of items; a negative count is followed by the block's bytes.

    Attributes:
        path: Where it stands in the schema.
        key: How a map's keys are read; None for an array.
        item: How items are read; with the key each takes at least one byte.
        wanted: Whether the items are returned.
    """

    path: str
    key: Text | None
    item: Node
    wanted: bool
    least: int = 1
    width: int | None = None

    @property
    def _item_least(self) -> int:
        return self.item.least + (self.key.least if self.key else 0)

    def walk(self, lanes: Lanes) -> Column:
        """See `Node`."""
        rounds: list[Some] = []
        which = np.arange(len(lanes))
        while which.size:
            some = lanes.take(which)
            count, stop = self._block(some)
            lanes.put(which, some)
            if self.key is None and self.item.width is not None and not self.wanted:
                some = lanes.take(which)
                some.advance(count * self.item.width)
                lanes.put(which, some)
            else:
                self._items(lanes, which, count, rounds)
            if stop is not None:
                lanes.leave(which[(stop >= 0) & (lanes.pos[which] != stop)])
            more = count > 0
            which = which if more.all() else which[more]
        return rounds if self.wanted else None

    def _block(self, lanes: Lanes) -> tuple[Ints, Ints | None]:
        """Read the head of a block: the count of items, and where blocks that say so end (-1 for others)."""
        count = lanes.varint()
        stop = None
        negative = np.flatnonzero(count < 0)
        if negative.size:
            some = lanes.take(negative)
            size = some.varint()
            wrong = (size < 0) | (size > some.end - some.pos) | (count[negative] == INT64_MIN)
            stop = np.full(len(lanes), -1, np.int64)
            stop[negative] = np.where(wrong, -1, some.pos + size)
            count[negative] = np.where(wrong, 0, -count[negative])
            some.leave(wrong)
            lanes.put(negative, some)
        too_many = count > (lanes.end - lanes.pos) // self._item_least
        if too_many.any():
            lanes.leave(too_many)
            count[too_many] = 0
        return count, stop

    def _items(self, lanes: Lanes, which: Ints, count: Ints, rounds: list[Some]) -> None:
        """Read the items of one block; those few that have many more than the others leave."""
        for number in range(int(count.max())):
            live = which[count > number]
            lanes.budget.rounds -= 1
            if lanes.budget.rounds < 0 or (live.size < FEW and live.size < len(lanes)):
                lanes.leave(live)
                count[count > number] = 0
                return
            some = lanes.take(live)
            keys = self.key.walk(some) if self.key else None
            column = self.item.walk(some)
            lanes.put(live, some)
            if self.wanted:
                rounds.append(Some(live, column, keys if isinstance(keys, Spans) else None))

    def check(self, data: bytes, pos: int, end: int) -> int:
        """See `Node`."""
        while True:
            count, pos = read_varint(data, pos, end, self.path)
            stop = None
            if count < 0:
                size, pos = read_varint(data, pos, end, self.path)
                count, stop = -count, _advance(pos, size, end, self.path)
            if count > (end - pos) // self._item_least or count == -INT64_MIN:
                raise malformed(self.path, f"a block of {count} items where {end - pos} bytes are left")
            if self.key is None and self.item.width is not None:
                pos += count * self.item.width
            else:
                for _ in range(count):
                    pos = self.item.check(data, self.key.check(data, pos, end) if self.key else pos, end)
            if stop is not None and pos != stop:
                raise malformed(self.path, f"a block that ends {abs(pos - stop)} bytes off what it says")
            if count == 0:
                return pos
