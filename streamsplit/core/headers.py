"""A record's headers as one byte string, as they travel in columns.

Each header is the length of its name and of its value (two little-endian 32-bit integers; -1: the value is null), its
name in UTF-8, its value.
"""

import struct
from collections.abc import Sequence

from streamsplit.core.byte_strings import NULL

Headers = Sequence[tuple[str, bytes | None]]

_LENGTHS = struct.Struct("<ii")


def packed(headers: Headers | None) -> bytes | None:
    """The byte string of a record's headers; None where it has none."""
    if not headers:
        return None
    pieces = []
    for name, value in headers:
        word = name.encode(errors="surrogateescape")
        pieces += [_LENGTHS.pack(len(word), NULL if value is None else len(value)), word, value or b""]
    return b"".join(pieces)


def unpacked(packed: bytes | None) -> list[tuple[str, bytes | None]]:
    """The headers of a byte string, in their order; a name that is no UTF-8 keeps its bytes as surrogates."""
    headers: list[tuple[str, bytes | None]] = []
    at = 0
    while packed is not None and at < len(packed):
        named, length = _LENGTHS.unpack_from(packed, at)
        at += _LENGTHS.size
        name = packed[at : at + named].decode(errors="surrogateescape")
        at += named
        headers.append((name, None if length == NULL else packed[at : at + length]))
        at += max(0, length)
    return headers
