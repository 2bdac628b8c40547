"""The universe, the binomial bounds, columns of words, and fields read a second way."""

import io
import json
import math

import fastavro
import numpy as np
import pytest
from scipy.stats import binom

from streamsplit.offline.fields import Fields, RequestFields
from streamsplit.offline.recorded import RecordedDeadLetters, Words, head_fingerprint, joined
from streamsplit.offline.report import Gap, Span
from streamsplit.offline.shares import TAIL, binomial_bound
from streamsplit.offline.universe import Edges, inside, spans, unread_gaps
from streamsplit.wire.schemas import SchemaStore, packaged


def named(*places: tuple[int, int]) -> RecordedDeadLetters:
    """Records that name these requests; any of the three kinds has these columns."""
    partitions = np.array([partition for partition, _ in places], np.int32)
    offsets = np.array([offset for _, offset in places], np.int64)
    heads, routed = offsets.astype(np.uint64), offsets > 0
    return RecordedDeadLetters(partitions, offsets, partitions, heads, routed)


NONE = named()
UNCUT: dict[str, frozenset[int]] = {}


@pytest.mark.parametrize(
    ("edges", "audit", "outputs", "letters", "span"),
    [
        (Edges({0: 100}, {0: 0}, UNCUT), named((0, 40), (0, 41)), named((0, 40)), NONE, Span(0, 40, 100)),
        (Edges({0: 100}, {0: 0}, UNCUT), named((0, 40)), NONE, named((0, 30)), Span(0, 30, 100)),
        (Edges({0: 100}, {0: 60}, UNCUT), named((0, 40)), named((0, 40)), NONE, Span(0, 60, 100, unjudged=20)),
        (
            Edges({0: 100}, {0: 0}, {"outputs": frozenset({0})}),
            named((0, 40)),
            named((0, 70)),
            NONE,
            Span(0, 70, 100, unjudged=30),
        ),
        (
            Edges({0: 100}, {0: 0}, {"outputs": frozenset({0})}),
            named((0, 40)),
            NONE,
            NONE,
            Span(0, 100, 100, unjudged=60),
        ),
        (Edges({0: 100}, {0: 0}, {"outputs": frozenset({1})}), named((0, 40)), NONE, NONE, Span(0, 40, 100)),
        (Edges({0: 100}, {0: 0}, UNCUT), NONE, NONE, NONE, Span(0, 100, 100)),
        (Edges({0: 100}, {0: 0}, UNCUT), named((0, 150)), NONE, NONE, Span(0, 100, 100)),
    ],
    ids=[
        "from the first audited to the committed",
        "a dead letter may be the first",
        "requests removed by retention",
        "outputs removed by retention",
        "all outputs removed by retention",
        "another partition's outputs removed",
        "nothing served",
        "served since the start only",
    ],
)
def test_the_universe_is_what_was_served_less_what_retention_removed(
    edges: Edges,
    audit: RecordedDeadLetters,
    outputs: RecordedDeadLetters,
    letters: RecordedDeadLetters,
    span: Span,
) -> None:
    assert spans(edges, {"audit": audit, "outputs": outputs, "dead-letters": letters}) == (span,)


def test_a_partition_without_committed_offset_is_outside_of_the_universe() -> None:
    assert spans(Edges({}, {0: 0}, UNCUT), {"audit": named((0, 1))}) == ()


def test_inside_tells_for_each_place_whether_it_is_judged() -> None:
    places = named((0, 9), (0, 10), (0, 19), (0, 20), (1, 15))
    mask = inside([Span(0, 10, 20)], places.partitions, places.offsets)
    assert mask.tolist() == [False, True, True, False, False]


def test_offsets_that_retention_removed_before_they_were_read_are_a_gap() -> None:
    assert unread_gaps(Edges({0: 10, 1: 10}, {0: 30, 1: 5}, UNCUT)) == (Gap(0, 10, 30, accepted=False),)


@pytest.mark.parametrize("trials", [1, 7, 100, 50_000, 1_000_000])
@pytest.mark.parametrize("chance", [0.0001, 0.005, 0.1, 0.25, 0.75, 0.9999])
def test_the_bound_is_the_tightest_that_leaves_the_tail_on_each_side(trials: int, chance: float) -> None:
    lowest, highest = binomial_bound(trials, chance)
    slack = 1 + 1e-6
    assert binom.cdf(lowest - 1, trials, chance) <= TAIL * slack
    assert binom.sf(highest, trials, chance) <= TAIL * slack
    assert binom.cdf(lowest, trials, chance) > TAIL / slack
    assert binom.sf(highest - 1, trials, chance) > TAIL / slack


@pytest.mark.parametrize(("trials", "chance", "bound"), [(0, 0.5, (0, 0)), (10, 0.0, (0, 0)), (10, 1.0, (10, 10))])
def test_certain_shares_have_no_room(trials: int, chance: float, bound: tuple[int, int]) -> None:
    assert binomial_bound(trials, chance) == bound


def test_words_of_two_columns_are_compared_by_text_not_by_code() -> None:
    one, other = Words.of(["a", "b", None, "c"]), Words.of(["b", "b", None, None])
    assert one.same(other).tolist() == [False, True, True, False]
    assert other.same(one).tolist() == [False, True, True, False]
    assert one.equals("never seen").tolist() == [False] * 4


def test_joined_columns_keep_their_texts() -> None:
    both = Words.joined([Words.of(["a", None]), Words.of([]), Words.of(["b", "a"])])
    assert [both.text(row) for row in range(4)] == ["a", None, "b", "a"]
    assert joined([named((0, 1)), named((1, 2))]).places.tolist() == named((0, 1), (1, 2)).places.tolist()


@pytest.mark.parametrize(
    "other",
    [
        (None, [("a", b"1")]),
        (b"k", [("a", b"2")]),
        (b"k", [("a", None)]),
        (b"k", []),
        (b"k", [("a", b"1"), ("a", b"1")]),
    ],
)
def test_another_key_or_header_has_another_fingerprint(
    other: tuple[bytes | None, list[tuple[str, bytes | None]]],
) -> None:
    assert head_fingerprint(*other) != head_fingerprint(b"k", [("a", b"1")])


def request_value(schema: dict[str, object], header: bytes, **fields: object) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema, _force=True), fields)
    return header + body.getvalue()


REQUEST = packaged("request")
TENSOR = {"name": "X", "datatype": "FP32", "shape": [2], "data": bytes(8)}


def avro(**changes: object) -> bytes:
    fields = {"id": "r1", "attributes": {"carrier": "UA", "é": "ü"}, "time": None, "inputs": [TENSOR]}
    return request_value(REQUEST.definition, REQUEST.header, **{**fields, **changes})


def test_id_and_attributes_are_read_from_avro_and_from_json_alike() -> None:
    fields = RequestFields(SchemaStore(), ("carrier", "é", "missing"))
    expected = (b"r1", (b"UA", "ü".encode(), None))
    assert fields.read(avro()) == expected
    document = {"id": "r1", "attributes": {"carrier": "UA", "é": "ü"}, "inputs": []}
    assert fields.read(json.dumps(document).encode()) == expected


@pytest.mark.parametrize(
    "value",
    [None, b"", b"garbage", b"{", b'{"attributes": {}}', b'{"id": 7}', b'{"id": "x", "attributes": 3}',
     REQUEST.header, REQUEST.header + b"\xff" * 30, b"\xc3\x01" + bytes(20), b"\0\0\0\0\x07abc"],
)  # fmt: skip
def test_what_is_no_request_is_none(value: bytes | None) -> None:
    assert RequestFields(SchemaStore(), ("carrier",)).read(value) is None


def test_a_time_beyond_the_calendar_is_a_number() -> None:
    value = request_value(
        packaged("audit").definition, packaged("audit").header,
        id="r", unit=b"u", rollout="x", revision=1, rule=-1, bucket=3, arm="control", served_by="control",
        model="m@1", outcome="ok", source_partition=0, source_offset=5, request_time=2**60, processed_time=0,
        inference_micros=1, score=math.nan, mirrored=[],
    )  # fmt: skip
    fields = Fields(SchemaStore(), "audit", ("source_offset", "request_time", "unit"))
    assert fields.read(value) == {"source_offset": 5, "request_time": 2**60, "unit": b"u"}
