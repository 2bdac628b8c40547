"""A column of byte strings: one buffer, and where each string lies in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

NULL = -1
"""Length of a string that there is not."""

PADDING = 32
"""Zeros behind what a buffer holds, so that a few bytes may be read where the last string ends."""

_SHORT = 32
"""Bytes a string up to which its bytes are gathered one by one rather than a string at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class ByteStrings(Sequence[bytes | None]):
    """m byte strings, without an object for each; equal to any sequence of the same strings.

    Attributes:
        buffer: uint8, what the strings lie in; they may overlap, and more may lie in it. Its last `PADDING` bytes are
            zeros, and no string reaches into them.
        starts: int64 (m,), the first byte of each; of no meaning for a null.
        lengths: int64 (m,), the bytes of each; `NULL` for None.
    """

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Make the columns what compiled code can read: contiguous, 8 bytes a row."""
        for name in ("starts", "lengths"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), np.int64))

    @classmethod
    def of(cls, strings: Sequence[bytes | None]) -> "ByteStrings":
        """The column of some strings; a column itself where it is one."""
        if isinstance(strings, ByteStrings):
            return strings
        lengths = np.array([NULL if each is None else len(each) for each in strings], np.int64)
        together = b"".join([*(each for each in strings if each is not None), bytes(PADDING)])
        ends = np.cumsum(np.maximum(lengths, 0))
        return cls(np.frombuffer(together, np.uint8), ends - np.maximum(lengths, 0), lengths)

    @classmethod
    def ending_at(cls, buffer: NDArray[np.uint8], ends: NDArray[np.int64]) -> "ByteStrings":
        """Strings that lie one behind the other from the buffer's first byte, given where each ends: int64 (m,)."""
        starts = np.empty_like(ends)
        starts[:1] = 0
        starts[1:] = ends[:-1]
        return cls(buffer, starts, ends - starts)

    @classmethod
    def repeated(cls, string: bytes | None, count: int) -> "ByteStrings":
        """The same string, `count` times."""
        one = cls.of([string])
        return cls(one.buffer, np.repeat(one.starts, count), np.repeat(one.lengths, count))

    @classmethod
    def together(cls, parts: Sequence["ByteStrings"]) -> "ByteStrings":
        """Columns one behind the other."""
        if len(parts) == 1:
            return parts[0]
        buffers = {id(each.buffer): each.buffer for each in parts}  # those of one batch share theirs
        first = dict(zip(buffers, np.cumsum([0, *map(len, buffers.values())]).tolist(), strict=False))
        (buffer,) = buffers.values() if len(buffers) == 1 else [_behind_each_other([*buffers.values()])]
        none = np.empty(0, np.int64)
        return cls(
            buffer,
            np.concatenate([none, *(each.starts + first[id(each.buffer)] for each in parts)]),
            np.concatenate([none, *(each.lengths for each in parts)]),
        )

    def __len__(self) -> int:
        """Number of strings (m)."""
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...

    @overload
    def __getitem__(self, index: slice) -> "ByteStrings": ...

    def __getitem__(self, index: int | slice) -> "bytes | ByteStrings | None":
        """One string, or the column of some."""
        if isinstance(index, slice):
            return ByteStrings(self.buffer, self.starts[index], self.lengths[index])
        start, length = int(self.starts[index]), int(self.lengths[index])
        return None if length == NULL else self.buffer[start : start + length].tobytes()

    def __iter__(self) -> Iterator[bytes | None]:
        """The strings, one after the other."""
        starts, lengths = self.starts[self.given], self.lengths.tolist()
        first = int(starts.min(initial=len(self.buffer)))
        raw = self.buffer[first : int((self.starts + self.sizes).max(initial=0))].tobytes()
        pieces = zip((self.starts - first).tolist(), lengths, strict=True)
        if NULL in lengths:
            return (None if length == NULL else raw[start : start + length] for start, length in pieces)
        return iter([raw[start : start + length] for start, length in pieces])

    def __eq__(self, other: object) -> bool:
        """Whether a sequence holds the same strings in the same order."""
        return isinstance(other, Sequence) and len(self) == len(other) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # its arrays may change

    def at(self, rows: NDArray[np.int64]) -> "ByteStrings":
        """The strings of some rows: int64 (k,)."""
        return ByteStrings(self.buffer, self.starts[rows], self.lengths[rows])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """int64 (m,), the bytes of each; 0 for a null."""
        return np.maximum(self.lengths, 0)

    @property
    def given(self) -> NDArray[np.bool_]:
        """Bool (m,), which are no null."""
        found: NDArray[np.bool_] = self.lengths != NULL
        return found

    def joined(self) -> memoryview | bytes:
        """All of them, one behind the other; no copy where they lie so."""
        if not len(self):
            return b""
        sizes = self.sizes
        total = int(sizes.sum())
        if (self.starts[1:] == (self.starts + sizes)[:-1]).all():
            start = int(self.starts[0])
            return self.buffer.data[start : start + total]
        if total > _SHORT * len(self):
            return b"".join(each for each in self if each is not None)
        places = np.repeat(self.starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(total)
        return self.buffer[places].data


def _behind_each_other(buffers: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.concatenate([*buffers, np.zeros(PADDING, np.uint8)])
