"""Tensors that are written alike are compared instead of walked, and nothing else changes."""

import random
import struct
from typing import Any

import pytest

from streamsplit.wire.decoder import RequestDecoder
from streamsplit.wire.request import Request
from streamsplit.wire.requests_avro import AvroRequests
from streamsplit.wire.schemas import SchemaStore
from tests.unit.test_wire_decoder import ALWAYS, CARRIER, NEVER, WANTED, X, batch, columns, request, tensor, written

GOOD = written(request())


def carrier(*words: str) -> dict[str, Any]:
    data = b"".join(struct.pack("<I", len(word.encode())) + word.encode() for word in words)
    return tensor("carrier", "BYTES", [2, 1], data)


def decoded_alike(*batches: list[bytes]) -> list[tuple[Any, Any]]:
    """What one decoder makes of batches in lockstep; it is what it makes of them record by record."""
    quick, slow = (RequestDecoder(SchemaStore(()), few) for few in (ALWAYS, NEVER))
    results = []
    for values in batches:
        found, letters = quick.decode(batch(list(values)), WANTED)
        expected, also = slow.decode(batch(list(values)), WANTED)
        assert (columns(found), letters) == (columns(expected), also)
        results.append((columns(found), letters))
    return results


@pytest.mark.parametrize("flip", [0x01, 0x02, 0x40, 0x80])
def test_a_byte_that_differs_anywhere_is_seen(flip: int) -> None:
    broken = [bytes([*GOOD[:at], GOOD[at] ^ flip, *GOOD[at + 1 :]]) for at in range(10, len(GOOD))]
    values = [*[GOOD] * 50, *broken]
    random.Random(flip).shuffle(values)
    ((served, letters),) = decoded_alike(values)
    assert len(served["ids"]) + len(letters) == len(values)
    assert len(served["ids"]) > 50
    assert letters


def test_records_cut_short_or_too_long_are_seen() -> None:
    values = [*[GOOD] * 50, *(GOOD[:length] for length in range(10, len(GOOD))), GOOD + b"\0", GOOD + GOOD[10:]]
    ((served, letters),) = decoded_alike(values)
    assert len(served["ids"]) == 50
    assert len(letters) == len(GOOD) - 10 + 2


def test_a_batch_of_many_patterns_and_patterns_of_earlier_batches_are_served_alike() -> None:
    chance = random.Random(7)
    words = ["", "UA", "é", "a longer name", "x" * 70, "x" * 200]
    shapes: list[Any] = [
        [tensor("X", "FP32", [2], X), tensor("carrier", "BYTES", [2, 1], CARRIER)],
        [tensor("carrier", "BYTES", [1, 2, 1], CARRIER), tensor("X", "FP32", [1, 2], X)],
        [tensor("X", "FP32", [2], X)],
        [tensor("X", "FP64", [2], X * 2), carrier("UA", "B6")],
    ]

    def values(count: int) -> list[bytes]:
        inputs = [
            chance.choice([chance.choice(shapes), [tensor("X", "FP32", [2], X), carrier(*chance.choices(words, k=2))]])
            for _ in range(count)
        ]
        return [written(request(id=f"r{at}", inputs=each, time=at)) for at, each in enumerate(inputs)]

    results = decoded_alike(values(400), [GOOD] * 30, values(400), values(11), [GOOD])
    assert all(served["ids"] for served, _ in results)
    assert any(letters for _, letters in results)


def test_producers_that_order_their_tensors_differently_are_served_batch_after_batch() -> None:
    """Their patterns have the same length."""
    inputs = [tensor("X", "FP32", [2], X), tensor("carrier", "BYTES", [2, 1], CARRIER)]
    values = [written(request(inputs=each)) for each in (inputs, inputs[::-1]) for _ in range(20)]
    results = decoded_alike(*[values] * 3, values[20:], values)
    assert [len(served["ids"]) for served, _ in results] == [40, 40, 40, 20, 40]


def test_a_request_of_very_many_tensors_does_not_slow_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the one that a pattern is looked for in, but not spend the rounds of the whole batch."""
    reads: list[bytes] = []
    read = AvroRequests.read

    def noted(reader: AvroRequests, value: bytes, body: int) -> Request:
        reads.append(value)
        return read(reader, value, body)

    monkeypatch.setattr(AvroRequests, "read", noted)
    endless = written(request(inputs=[tensor("", "FP32", [], b"")] * 5000))
    others = [written(request(inputs=[tensor("X", "FP32", [2], X), carrier("x" * at, "é")])) for at in range(90)]
    served, letters = RequestDecoder(SchemaStore(())).decode(batch([endless, *others]), WANTED)
    assert (len(served), [letter.row for letter in letters]) == (90, [0])
    assert reads == [endless]


def test_data_alone_may_differ() -> None:
    inputs = [[tensor("X", "FP32", [2], struct.pack("<2f", at, -at)), carrier(f"{at:02}", "é")] for at in range(90)]
    ((served, letters),) = decoded_alike([written(request(inputs=each)) for each in inputs])
    assert letters == []
    assert served["inputs"]["X"][2] == [[at, -at] for at in range(90)]
    assert served["inputs"]["carrier"][2][89] == [[b"89"], ["é".encode()]]


def test_what_the_model_forbids_is_seen_where_the_pattern_is_known() -> None:
    nan = written(request(inputs=[tensor("X", "FP32", [2], struct.pack("<2f", 1, float("nan"))), carrier("UA", "é")]))
    broken = GOOD.replace("é".encode(), b"\xff\xfe")
    ((_, letters),) = decoded_alike([*[GOOD] * 40, nan, broken])
    assert [letter.row for letter in letters] == [40, 41]
