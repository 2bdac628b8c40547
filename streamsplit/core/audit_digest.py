"""Digests by which `verify` finds what was changed after it was committed (docs/design.md section 5).

The digest of a stretch is `sha256(sha256(lengths) + sha256(values))`, of the records that its transaction wrote to one
partition of `audit` and of `dead-letters`, each in the order they were produced:

- `values`: the values of the audit records one behind the other, then those of the dead letters;
- `lengths`: big-endian 32-bit integers: the length of each audit record's value, -2, the length of each dead letter's
  value, or -1 where it is null. So no byte can move from one record to the next, and no record to the other topic.

Summaries themselves are a chain: each holds the `link` of the one before it.
"""

from collections.abc import Sequence
from hashlib import sha256

from streamsplit.core.byte_strings import ByteStrings

_DEAD_LETTERS = -2


class StretchDigest:
    """The digest of one stretch, record by record: first the audit, then `dead_letters()`, then these."""

    __slots__ = ("_lengths", "_values")

    def __init__(self) -> None:
        self._lengths = sha256()
        self._values = sha256()

    def add(self, values: Sequence[bytes | None]) -> None:
        """The next values, in the order of their log; None is a null."""
        column = ByteStrings.of(values)
        self._lengths.update(column.lengths.astype(">i4").tobytes())
        self._values.update(column.joined())

    def dead_letters(self) -> None:
        """What follows is dead letters; exactly once, also where there are none."""
        self._lengths.update(_DEAD_LETTERS.to_bytes(4, "big", signed=True))

    def digest(self) -> bytes:
        """The 32 bytes, of what was added so far."""
        return sha256(self._lengths.digest() + self._values.digest()).digest()


def stretch_digest(audit: Sequence[bytes | None], dead_letters: Sequence[bytes | None]) -> bytes:
    """The digest of a stretch whose records are all at hand."""
    stretch = StretchDigest()
    stretch.add(audit)
    stretch.dead_letters()
    stretch.add(dead_letters)
    return stretch.digest()


def link(summary: bytes) -> bytes:
    """What the next summary of a process holds of this one, given its value."""
    return sha256(summary).digest()
