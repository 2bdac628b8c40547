"""Columns of values written as Avro, row by row, without a loop over rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.ranks import ranks
from streamsplit.native.library import Kind, put_together


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of values that are encoded when rows are put together.

    Attributes:
        kind: How: one of `streamsplit.native.library`'s.
        content: The values: an array with a first dimension of m, or m byte strings.
    """

    kind: Kind
    content: NDArray[Any] | ByteStrings


def varint(value: int) -> bytes:
    """One zigzag integer (Avro `int` and `long`)."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def text(content: bytes | str) -> bytes:
    """One Avro `string` or `bytes`."""
    raw = content.encode() if isinstance(content, str) else content
    return varint(len(raw)) + raw


class LengthTable(dict[int, bytes]):
    """The varint of a length, made when first asked for."""

    def __missing__(self, length: int) -> bytes:
        made = self[length] = varint(length)
        return made


def integers(values: NDArray[np.integer]) -> Cells:
    """A column of Avro `int` or `long`; `values` is any signed integer array (m,)."""
    return Cells(Kind.INTEGERS, np.ascontiguousarray(values, np.int64))


def doubles(values: NDArray[np.float64]) -> Cells:
    """A column of nullable `double` (`["null", "double"]`); NaN is null."""
    return Cells(Kind.OPTIONAL_DOUBLES, np.ascontiguousarray(values, "<f8"))


def texts(strings: ByteStrings) -> Cells:
    """A column of Avro `string` or `bytes`, none of them null."""
    return Cells(Kind.TEXTS, strings)


def optional_texts(strings: ByteStrings) -> Cells:
    """A column of nullable `string` or `bytes` (`["null", ...]`)."""
    return Cells(Kind.OPTIONAL_TEXTS, strings)


def pieces(strings: ByteStrings) -> Cells:
    """In each row these bytes, as they are."""
    return Cells(Kind.PIECES, strings)


def constant(content: bytes, rows: int) -> Cells:
    """The same bytes in each row."""
    return Cells(Kind.FIXED, np.broadcast_to(np.frombuffer(content, np.uint8), (rows, len(content))))


def looked_up(table: Sequence[bytes], codes: NDArray[np.integer]) -> Cells:
    """In each row the bytes that `table` has for its code."""
    return pieces(ByteStrings.of(table).at(codes.astype(np.int64)))


def coded(codes: NDArray[np.signedinteger], encode: Callable[[int], bytes]) -> Cells:
    """In each row what `encode` makes of its code; each distinct one once."""
    if not len(codes):
        return constant(b"", 0)
    distinct, index = ranks(codes)
    return looked_up([encode(code) for code in distinct.tolist()], index)


def spread(strings: ByteStrings, places: NDArray[np.int64], rows: int) -> Cells:
    """In the rows of some places, int64 (k,), these bytes, in the others none."""
    starts, lengths = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    starts[places], lengths[places] = strings.starts, strings.lengths
    return pieces(ByteStrings(strings.buffer, starts, lengths))


def raw(array: NDArray[np.generic]) -> Cells:
    """The bytes of each example of a stacked array (m, *shape)."""
    if not array.size:
        return constant(b"", len(array))
    return Cells(Kind.FIXED, np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8))


def rows_of(columns: Sequence[Cells], rows: int) -> ByteStrings:
    """Put columns of m rows side by side: m byte strings, one behind the other in one buffer."""
    return put_together([(each.kind, each.content) for each in columns], rows)
