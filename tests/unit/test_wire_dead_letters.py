"""A dead letter is the original with Kafka Connect's error headers, or a reference where it is too large."""

import hashlib
import json

import numpy as np

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.headers import packed
from streamsplit.core.records import DeadLetter, RawBatch
from streamsplit.wire.dead_letters import Origin, OutgoingRecord, dead_letter_record, record_size

ORIGIN = Origin("flights.requests", "flights", "worker-0")
NAMES = (
    "topic",
    "partition",
    "offset",
    "connector.name",
    "task.id",
    "stage",
    "class.name",
    "exception.class.name",
    "exception.message",
    "exception.stacktrace",
)


def one(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]] | None) -> RawBatch:
    return RawBatch(
        0,
        *map(ByteStrings.of, ([value], [key], [packed(headers)])),
        np.array([3], np.int32),
        np.array([2**40]),
        np.array([1_700_000_000_000]),
    )


def record(batch: RawBatch, limit: int = 10**6, reason: str = "the id is missing") -> OutgoingRecord:
    return dead_letter_record(batch, DeadLetter(0, "decode", reason), ORIGIN, limit)


def test_key_value_and_headers_are_untouched_and_errors_are_named_as_connect_names_them() -> None:
    headers: list[tuple[str, bytes | None]] = [("trace", b"\xff\0"), ("trace", None), ("__connect.errors.topic", b"x")]
    letter = record(one(b"\0k", b"\xff", headers), reason="é")
    assert (letter.key, letter.value) == (b"\0k", b"\xff")
    assert list(letter.headers[:3]) == headers
    assert [name for name, _ in letter.headers[3:]] == [f"__connect.errors.{name}" for name in NAMES]
    errors = dict(letter.headers[3:])
    assert errors["__connect.errors.topic"] == b"flights.requests"
    assert errors["__connect.errors.partition"] == b"3"
    assert errors["__connect.errors.offset"] == b"1099511627776"
    assert errors["__connect.errors.connector.name"] == b"flights"
    assert errors["__connect.errors.task.id"] == b"worker-0"
    assert errors["__connect.errors.stage"] == b"decode"
    assert errors["__connect.errors.exception.message"] == "é".encode()


def test_a_tombstone_stays_a_tombstone() -> None:
    letter = record(one(None, None, None))
    assert (letter.key, letter.value) == (None, None)
    assert len(letter.headers) == len(NAMES)


def test_a_record_too_large_goes_by_reference() -> None:
    value = b"v" * 5000
    batch = one(b"k", value, [("trace", b"1")])
    letter = record(batch, limit=3000)
    assert letter.key == b"k"
    assert letter.headers[0] == ("trace", b"1")
    assert json.loads(letter.value or b"") == {
        "partition": 3,
        "offset": 2**40,
        "size": record_size(b"k", value, [("trace", b"1")]),
        "sha256": hashlib.sha256(value).hexdigest(),
    }
    assert dict(letter.headers)["__connect.errors.offset"] == b"1099511627776"
    assert letter.size <= 3000


def test_headers_and_key_that_are_too_large_are_given_up_too() -> None:
    headers: list[tuple[str, bytes | None]] = [("h", b"h" * 4000)]
    letter = record(one(b"k", b"v", headers), limit=3000)
    assert letter.key == b"k"
    assert [name for name, _ in letter.headers] == [f"__connect.errors.{name}" for name in NAMES]
    assert json.loads(letter.value or b"")["headers"] == 1
    letter = record(one(b"k" * 4000, b"v", headers), limit=3000)
    assert letter.key is None
    assert json.loads(letter.value or b"")["key_sha256"] == hashlib.sha256(b"k" * 4000).hexdigest()
    assert letter.size <= 3000


def test_a_record_of_exactly_the_limit_is_not_a_reference() -> None:
    batch = one(b"k", b"v" * 500, None)
    size = record(batch).size
    assert record(batch, limit=size).value == b"v" * 500
    assert record(batch, limit=size - 1).value != b"v" * 500


def test_a_long_reason_or_a_broken_one_does_not_break_the_record() -> None:
    letter = record(one(b"k", b"v", None), reason="\ud800" + "x" * 10**6)
    assert letter.size < 20_000


def test_a_header_whose_name_is_no_utf8_goes_on_as_it_is() -> None:
    name = b"\xff\xfe".decode(errors="surrogateescape")
    letter = record(one(b"k", b"v", [(name, b"x")]))
    assert letter.headers[0] == (name, b"x")
    assert letter.size == record(one(b"k", b"v", [("ab", b"x")])).size
