"""Records read in lockstep: one cursor a record, all of them moved together by numpy.

A record that does not fit (an over-long integer, a length beyond its end) leaves: its cursor is parked on zeros behind
the buffer, where every further read yields 0 and moves nothing. Nothing that was read beyond a record's own end is
ever used: every move is checked against the record's end.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import PADDING, ByteStrings

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

FEW = 12
"""Below this many records lockstep is slower than reading one after another."""

_STOPS = np.uint64(0x8080808080808080)
_SEVENS = np.uint64(0x7F7F7F7F7F7F7F7F)
_ONE = np.uint64(1)


@dataclass(slots=True)
class Budget:
    """Rounds of lockstep a batch may still take, so that no record makes all others wait."""

    rounds: int


@dataclass(slots=True)
class Lanes:
    """Cursors into one buffer.

    Attributes:
        buffer: uint8, what the records lie in, and `PADDING` zeros: an integer may be read where the last record ends,
            and parked cursors stand there.
        words: The same bytes as unaligned little-endian uint64, one starting at every byte.
        pos: int64 (k,), the next byte of each record.
        end: int64 (k,), the first byte behind each record; `park` for a record that has left.
        park: Where parked cursors stand.
        budget: Rounds left for the whole batch.
    """

    buffer: NDArray[np.uint8]
    words: NDArray[np.uint64]
    pos: Ints
    end: Ints
    park: int
    budget: Budget

    @classmethod
    def over(cls, records: ByteStrings, header: int, rounds: int = 4096) -> "Lanes":
        """Put a cursor behind the `header` bytes of each record.

        Args:
            records: k records, none of them null or shorter than `header`.
            header: Bytes to leave out at the start of each.
            rounds: Rounds of lockstep that all records may take together.
        """
        buffer = records.buffer
        words = np.ndarray(len(buffer) - 7, "<u8", buffer, strides=(1,))
        end = records.starts + records.lengths
        return cls(buffer, words, records.starts + header, end, len(buffer) - PADDING + 1, Budget(rounds))

    def __len__(self) -> int:
        """Number of records."""
        return len(self.pos)

    def take(self, which: Ints) -> "Lanes":
        """The cursors of some records; these very ones where `which` is all."""
        if len(which) == len(self.pos):
            return self
        return Lanes(self.buffer, self.words, self.pos[which], self.end[which], self.park, self.budget)

    def put(self, which: Ints, some: "Lanes") -> None:
        """Bring back the cursors that `take(which)` gave."""
        if some is not self:
            self.pos[which] = some.pos
            self.end[which] = some.end

    def leave(self, who: Mask | Ints) -> None:
        """Park these records."""
        self.pos[who] = self.park
        self.end[who] = self.park

    @property
    def finished(self) -> Mask:
        """Who has been read to its last byte and no further: bool (k,)."""
        done: Mask = (self.pos == self.end) & (self.end != self.park)
        return done

    def varint(self) -> Ints:
        """int64 (k,): read one zigzag integer of each record (Avro `int` and `long`)."""
        first = self.buffer[self.pos]
        value = first.astype(np.uint64)
        longer = np.flatnonzero(first & 0x80)
        if longer.size:
            self._finish(value, longer)
        self.pos += 1
        beyond = self.pos > self.end
        if beyond.any():
            self.leave(beyond)
            value[beyond] = 0
        return (value >> _ONE).view(np.int64) ^ -(value & _ONE).view(np.int64)

    def _finish(self, value: NDArray[np.uint64], longer: Ints) -> None:
        """Read integers of several bytes; leaves the cursor on the last byte of each."""
        pos = self.pos[longer]
        words = self.words[pos]
        stop = ~words & _STOPS
        lowest = stop & (~stop + _ONE)
        below = lowest - _ONE  # all ones where the eight bytes hold no end
        groups = words & below & _SEVENS
        groups = (groups & np.uint64(0x007F007F007F007F)) | ((groups & np.uint64(0x7F007F007F007F00)) >> _ONE)
        groups = (groups & np.uint64(0x00003FFF00003FFF)) | ((groups & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2))
        groups = (groups & np.uint64(0x0FFFFFFF)) | ((groups & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4))
        pos += np.bitwise_count(below).astype(np.int64) >> 3
        huge = np.flatnonzero(stop == 0)
        if huge.size:
            ninth, tenth = self.buffer[pos[huge]].astype(np.uint64), self.buffer[pos[huge] + 1].astype(np.uint64)
            goes_on = ninth >= 0x80  # noqa: PLR2004 - the continuation bit
            groups[huge] |= ((ninth & np.uint64(0x7F)) << np.uint64(56)) | np.where(goes_on, tenth << np.uint64(63), 0)
            pos[huge] += goes_on
            # Ten bytes hold 70 bits: the tenth may only be 0 or 1. Such a cursor is sent beyond its record's end.
            pos[huge[goes_on & (tenth > 1)]] = self.park + 1
        value[longer] = groups
        self.pos[longer] = pos

    def advance(self, length: Ints) -> None:
        """Move each cursor by its `length`; a record that is not that long leaves."""
        bad = (length < 0) | (length > self.end - self.pos)
        if bad.any():
            self.leave(bad)
            length = np.where(bad, 0, length)
        self.pos += length
