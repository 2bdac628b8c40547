"""The compiled loops do what Python says they do, and read nothing that they were not handed."""

import itertools
import math
import struct

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.byte_strings import NULL, ByteStrings
from streamsplit.core.headers import packed, unpacked
from streamsplit.core.routing import unit_hashes
from streamsplit.native.library import Kind, are_utf8, hashes, put_together
from streamsplit.wire.columns import text, varint

STRINGS = st.lists(st.one_of(st.none(), st.binary(max_size=300)), max_size=12)
ROWS = st.lists(
    st.tuples(
        st.binary(max_size=200),
        st.one_of(st.none(), st.binary(max_size=200)),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.binary(min_size=5, max_size=5),
    ),
    max_size=20,
)


@given(ROWS)
def test_rows_are_their_cells_one_behind_the_other(rows: list[tuple[bytes, bytes | None, int, float, bytes]]) -> None:
    words, units, numbers, scores, fixed = zip(*rows, strict=True) if rows else ((),) * 5
    made = put_together(
        [
            (Kind.TEXTS, ByteStrings.of(words)),
            (Kind.OPTIONAL_TEXTS, ByteStrings.of(units)),
            (Kind.INTEGERS, np.array(numbers, np.int64)),
            (Kind.OPTIONAL_DOUBLES, np.array(scores, np.float64)),
            (Kind.FIXED, np.frombuffer(b"".join(fixed), np.uint8).reshape(len(rows), 5)),
            (Kind.PIECES, ByteStrings.of(words)),
            (Kind.FIXED, np.broadcast_to(np.frombuffer(b"end", np.uint8), (len(rows), 3))),
        ],
        len(rows),
    )
    assert made == [
        text(word)
        + (b"\0" if unit is None else b"\2" + text(unit))
        + varint(number)
        + (b"\0" if math.isnan(score) else b"\2" + struct.pack("<d", score))
        + piece
        + word
        + b"end"
        for word, unit, number, score, piece in rows
    ]


def is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


EDGES = bytes.fromhex("007f808f909fa0bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5ff")
"""Bytes beside which the rules of RFC 3629 change."""


def test_every_text_of_bytes_at_the_edges_is_utf8_where_python_says_so() -> None:
    texts = [bytes(each) for length in range(4) for each in itertools.product(EDGES, repeat=length)]
    texts += [bytes((first, *rest, 0xBF)) for first in EDGES[-8:] for rest in itertools.product(EDGES, repeat=2)]
    assert are_utf8(ByteStrings.of(texts)).tolist() == list(map(is_utf8, texts))


@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode)), max_size=10))
def test_texts_are_utf8_where_python_says_so(texts: list[bytes]) -> None:
    assert are_utf8(ByteStrings.of(texts)).tolist() == list(map(is_utf8, texts))


def test_a_text_ends_where_it_ends_whatever_lies_behind_it() -> None:
    buffer = np.frombuffer("é".encode() * 20 + bytes(32), np.uint8)
    column = ByteStrings(buffer, np.array([0, 0, 1, 0]), np.array([2, 1, 2, NULL]))
    assert are_utf8(column).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("start", "length"), [(0, 73), (72, 1), (-1, 2), (0, -2), (2**62, 2**62), (2**63 - 1, 2**63 - 1), (5, 2**63 - 1)]
)
def test_what_reaches_beyond_the_buffer_is_no_text_and_is_not_read(start: int, length: int) -> None:
    buffer = np.frombuffer(b"a" * 40 + bytes(32), np.uint8)
    assert are_utf8(ByteStrings(buffer, np.array([start, 0]), np.array([length, 3]))).tolist() == [False, True]


@given(STRINGS)
def test_a_column_is_the_sequence_that_it_was_made_of(strings: list[bytes | None]) -> None:
    column = ByteStrings.of(strings)
    assert column == strings
    assert [column[row] for row in range(len(column))] == strings
    assert column[1:] == strings[1:]
    assert column.given.tolist() == [each is not None for each in strings]
    assert column.sizes.tolist() == [len(each or b"") for each in strings]


def test_columns_that_share_a_buffer_share_it_together() -> None:
    column = ByteStrings.of([b"a", b"b", None, b"c"])
    together = ByteStrings.together([column[2:], column[:2]])
    assert together == [None, b"c", b"a", b"b"]
    assert together.buffer is column.buffer


@pytest.mark.parametrize("kind", [Kind.TEXTS, Kind.PIECES])
def test_no_null_is_written_where_none_may_be(kind: Kind) -> None:
    with pytest.raises(ValueError, match="a null in a column"):
        put_together([(kind, ByteStrings.of([b"a", None]))], 2)


@given(st.lists(STRINGS, max_size=4), st.data())
def test_columns_one_behind_the_other_in_any_order_are_their_strings(
    parts: list[list[bytes | None]], data: st.DataObject
) -> None:
    together = ByteStrings.together([ByteStrings.of(each) for each in parts])
    strings = [each for part in parts for each in part]
    assert together == strings
    order = data.draw(st.permutations(range(len(strings))))
    mixed = together.at(np.array(order, np.int64))
    assert mixed == [strings[row] for row in order]
    for column in (together, mixed):
        assert bytes(column.joined()) == b"".join(each for each in column if each is not None)


@given(st.binary(max_size=40), STRINGS)
def test_units_have_the_hashes_that_routing_gives_them(prefix: bytes, units: list[bytes | None]) -> None:
    column = ByteStrings.of(units)
    assert hashes(prefix, column).tolist() == unit_hashes(prefix, column).tolist()


def test_units_of_every_length_have_the_hash_of_xxh64() -> None:
    content = bytes(range(256)) * 2
    units = [content[:length] for length in range(len(content))]
    expected = [xxhash.xxh64_intdigest(b"delay-v2:" + unit) for unit in units]
    assert hashes(b"delay-v2:", ByteStrings.of(units)).tolist() == expected


HEADERS = st.lists(st.tuples(st.text(max_size=10), st.one_of(st.none(), st.binary(max_size=30))), max_size=5)


@given(HEADERS)
def test_headers_survive_being_packed(headers: list[tuple[str, bytes | None]]) -> None:
    assert unpacked(packed(headers)) == headers


def test_a_header_whose_name_is_no_utf8_keeps_its_bytes() -> None:
    name = b"\xff\xfe".decode(errors="surrogateescape")
    assert unpacked(packed([(name, b"x")])) == [(name, b"x")]
