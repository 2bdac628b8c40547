"""Columns of values written as Avro, row by row, without a loop over rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.ranks import ranks
from streamsplit.wire.lanes import Ints

_SEVEN = np.uint64(7)


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of encoded values.

    Attributes:
        content: uint8 (m, w), each row's bytes from the left.
        length: int64 (m,), how many of them count; None where all do.
    """

    content: NDArray[np.uint8]
    length: Ints | None


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
    """The varint of a length behind fixed bytes, made when first asked for."""

    def __init__(self, before: bytes = b"") -> None:
        super().__init__()
        self._before = before

    def __missing__(self, length: int) -> bytes:
        made = self[length] = self._before + varint(length)
        return made

    def of(self, contents: Sequence[bytes]) -> Iterator[bytes]:
        """What stands before each of these contents."""
        return map(self.__getitem__, map(len, contents))


def integers(values: NDArray[np.integer]) -> Cells:
    """A column of Avro `int` or `long`; `values` is any signed integer array (m,)."""
    signed = values.astype(np.int64)
    rest = ((signed << 1) ^ (signed >> 63)).view(np.uint64)
    width = max(1, -(-int(rest.max(initial=0)).bit_length() // 7))
    content = np.empty((len(signed), width), np.uint8)
    length = np.ones(len(signed), np.int64)
    for at in range(width - 1):
        byte = rest & np.uint64(0x7F)
        rest = rest >> _SEVEN
        more = rest != 0
        length += more
        content[:, at] = byte | (more.astype(np.uint64) << _SEVEN)
    content[:, width - 1] = rest
    return Cells(content, None if width == 1 or bool((length == width).all()) else length)


def doubles(values: NDArray[np.float64]) -> Cells:
    """A column of nullable `double` (`["null", "double"]`); NaN is null."""
    content = np.empty((len(values), 9), np.uint8)
    null = np.isnan(values)
    content[:, 0] = np.where(null, 0, 2)
    content[:, 1:] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    return Cells(content, np.where(null, 1, 9).astype(np.int64) if null.any() else None)


def constant(content: bytes, rows: int) -> Cells:
    """The same bytes in each row."""
    return Cells(np.broadcast_to(np.frombuffer(content, np.uint8), (rows, len(content))), None)


def looked_up(table: Sequence[bytes], codes: NDArray[np.integer]) -> Cells:
    """In each row the bytes that `table` has for its code."""
    width = max(map(len, table), default=0)
    if len(table) == 1:
        return constant(table[0], len(codes))
    padded = np.frombuffer(b"".join(entry.ljust(width, b"\0") for entry in table), np.uint8).reshape(len(table), width)
    lengths = np.fromiter(map(len, table), np.int64, len(table))
    return Cells(padded[codes], None if (lengths == width).all() else lengths[codes])


def coded(codes: NDArray[np.signedinteger], encode: Callable[[int], bytes]) -> Cells:
    """In each row what `encode` makes of its code; each distinct one once; there is at least one."""
    distinct, index = ranks(codes)
    return looked_up([encode(code) for code in distinct.tolist()], index)


def raw(array: NDArray[np.generic]) -> Cells:
    """The bytes of each example of a stacked array (m, *shape); m is at least 1."""
    return Cells(np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1), None)


def rows_of(columns: Sequence[Cells]) -> list[bytes]:
    """Put columns side by side: m byte strings."""
    content = np.concatenate([cells.content for cells in columns], axis=1)
    rows, width = content.shape
    if all(cells.length is None for cells in columns):
        raw = content.tobytes()
        return [raw[start : start + width] for start in range(0, rows * width, width)]
    mask = np.empty(content.shape, np.bool_)
    total = np.zeros(rows, np.int64)
    at = 0
    for cells in columns:
        wide = cells.content.shape[1]
        total += wide if cells.length is None else cells.length
        mask[:, at : at + wide] = True if cells.length is None else np.arange(wide) < cells.length[:, None]
        at += wide
    raw = content[mask].tobytes()
    ends = np.cumsum(total).tolist()
    return [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]
