"""Tensors that are written alike: the same names, types and shapes, byte for byte, around other data.

A producer writes all of its requests in one way. So the tensors of nearly every request are, but for their data, the
very bytes of a request that has been walked before, and comparing some words does what walking does in a hundred
steps. Nothing is guessed: bytes that are equal up to the data have the same meaning, and a request that equals no
pattern is walked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.wire.lanes import FEW, Budget, Ints, Lanes, Mask
from streamsplit.wire.walker import Spans

Walk = Callable[[Lanes], tuple[Sequence[Spans], Mask]]
"""Moves over the tensors of all records; where each wanted tensor's data lies, and which records fit: bool (k,)."""

_KEPT = 8
_LEARNT = 4
"""New patterns in a batch: more of them, and the requests have no pattern worth the while."""

_ROUNDS = 128
"""Rounds of lockstep in which the one request that a pattern is made of is walked; the batch keeps its own."""

_WORD = 8


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """The tensors of one request; equal to itself alone, as arrays have no one answer to whether they are equal.

    Attributes:
        length: Bytes they take.
        offsets: int64 (s,), where the words that hold anything but data begin, from the tensors' first byte.
        mask: uint64 (s,), ones where a word holds no data.
        content: uint64 (s,), the words under the mask.
        starts: For each wanted tensor where its data begins, from the tensors' first byte.
        lengths: For each its bytes.
    """

    length: int
    offsets: Ints
    mask: NDArray[np.uint64]
    content: NDArray[np.uint64]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, lanes: Lanes, first: int, behind: int, data: Sequence[tuple[int, int]]) -> "Pattern":
        """The pattern of the bytes from `first` to `behind`, given start and length of each tensor's data."""
        solid = np.zeros(-(-(behind - first) // _WORD) * _WORD, np.uint8)
        solid[: behind - first] = 0xFF
        for start, length in data:
            solid[start - first : start - first + length] = 0
        mask = solid.view("<u8")
        words = np.flatnonzero(mask)
        offsets, mask = words * _WORD, mask[words]
        starts, lengths = tuple(start - first for start, _ in data), tuple(length for _, length in data)
        return cls(behind - first, offsets, mask, lanes.words[first + offsets] & mask, starts, lengths)

    def equal(self, lanes: Lanes, which: Ints) -> Mask:
        """Which of some records have these very bytes where their cursors stand: bool (k,)."""
        pos = lanes.pos[which]
        same: Mask = lanes.end[which] - pos >= self.length
        if not same.all():
            pos = np.where(same, pos, 0)
        # Whoever is long enough is followed by the buffer's padding: no word reaches beyond it.
        last = len(lanes.words) - 1
        words = lanes.words[np.minimum(pos[:, None] + self.offsets, last)]
        same &= ((words & self.mask) == self.content).all(axis=1)
        return same


class Patterns:
    """The patterns met lately.

    Args:
        walk: The way of those that fit none.
    """

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._known: list[Pattern] = []

    def walk(self, lanes: Lanes, tensors: int) -> tuple[list[Spans], Mask]:
        """Move all records over their tensors.

        Args:
            lanes: The k records, their cursors on the tensors.
            tensors: How many are wanted.

        Returns:
            For each wanted tensor where its data lies, and which records fit: bool (k,).
        """
        count = len(lanes)
        found = [Spans(np.zeros(count, np.int64), np.zeros(count, np.int64)) for _ in range(tensors)]
        fits = np.ones(count, np.bool_)
        left = np.arange(count)
        for pattern in self._known.copy():
            if not left.size:
                break
            left = self._take(pattern, lanes, left, found)
        for _ in range(_LEARNT):
            learnt = self._learn(lanes, int(left[0])) if left.size >= FEW else None
            if learnt is None:
                break
            rest = self._take(learnt, lanes, left, found)
            few = left.size - rest.size < left.size // _KEPT
            left = rest
            if few:
                break
        if left.size:
            self._walk_on(lanes, left, found, fits)
        return found, fits

    def _take(self, pattern: Pattern, lanes: Lanes, left: Ints, found: list[Spans]) -> Ints:
        """Move the records that equal a pattern; the others."""
        same = pattern.equal(lanes, left)
        if not same.any():
            return left
        if pattern is not self._known[0]:
            self._known.remove(pattern)
            self._known.insert(0, pattern)
        which = left[same]
        pos = lanes.pos[which]
        for spans, start, length in zip(found, pattern.starts, pattern.lengths, strict=True):
            spans.start[which], spans.length[which] = pos + start, length
        lanes.pos[which] = pos + pattern.length
        return left[~same]

    def _learn(self, lanes: Lanes, index: int) -> Pattern | None:
        """The pattern of one record; None where it does not fit, or has too many parts to be worth comparing."""
        first = int(lanes.pos[index])
        one = Lanes(lanes.buffer, lanes.words, np.array([first]), lanes.end[[index]], lanes.park, Budget(_ROUNDS))
        data, fits = self._walk(one)
        if not fits[0] or one.end[0] == lanes.park:
            return None
        spans = [(int(each.start[0]), int(each.length[0])) for each in data]
        pattern = Pattern.of(lanes, first, int(one.pos[0]), spans)
        self._known = [pattern, *self._known[: _KEPT - 1]]
        return pattern

    def _walk_on(self, lanes: Lanes, left: Ints, found: list[Spans], fits: Mask) -> None:
        some = lanes.take(left)
        data, good = self._walk(some)
        lanes.put(left, some)
        fits[left] = good
        for spans, each in zip(found, data, strict=True):
            spans.start[left], spans.length[left] = each.start, each.length
