"""What a topic would refuse is found before a transaction begins."""

import numpy as np
import pytest

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.headers import Headers, packed, unpacked
from streamsplit.core.records import Outcome, Predictions, RawBatch, Reflection, RequestColumns, Routing
from streamsplit.kafka.lane import Progress
from streamsplit.kafka.topics import Topics
from streamsplit.service.sealing import Encoders, Sealer, _like_requests, _too_large
from streamsplit.service.served import Served
from streamsplit.service.stopwatch import Stopwatch
from streamsplit.wire.audit import AuditEncoder
from streamsplit.wire.dead_letters import record_size
from streamsplit.wire.outputs import OutputEncoder
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.schemas import SchemaStore, packaged
from streamsplit.wire.summaries import SummaryEncoder, SummaryReader


def batch_of(keys: list[bytes | None], headers: list[Headers | None] | None = None) -> RawBatch:
    """Records of one partition each."""
    count = len(keys)
    return RawBatch(
        epoch=1,
        values=ByteStrings.repeated(b"", count),
        keys=ByteStrings.of(keys),
        headers=ByteStrings.of([packed(each) for each in headers or [None] * count]),
        partitions=np.arange(count, dtype=np.int32),
        offsets=np.arange(count, dtype=np.int64),
        timestamps=np.zeros(count, np.int64),
    )


def test_nothing_is_too_large_where_everything_fits() -> None:
    assert (
        _too_large(batch_of([b"k", None]), np.array([0, 1], np.int64), ByteStrings.of([b"x" * 10, b"y" * 10]), 1_000)
        == {}
    )
    assert _too_large(batch_of([]), np.array([], np.int64), ByteStrings.of([]), 1) == {}


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_limit_itself_fits(spare: int) -> None:
    value = b"x" * 500
    limit = record_size(b"key", value, None) + spare
    expected = {} if spare >= 0 else {0: limit + 1}
    assert _too_large(batch_of([b"key"]), np.array([0], np.int64), ByteStrings.of([value]), limit) == expected


def test_the_long_key_of_one_and_the_long_value_of_another_are_not_added_up() -> None:
    batch = batch_of([b"k" * 400, b"k"])
    assert _too_large(batch, np.array([0, 1], np.int64), ByteStrings.of([b"v", b"v" * 400]), 600) == {}


def test_headers_count_and_rows_are_those_of_the_values() -> None:
    batch = batch_of([b"a", b"b", b"c"], [None, None, [("trace", b"x" * 900)]])
    assert list(_too_large(batch, np.array([0, 2], np.int64), ByteStrings.of([b"v", b"v"]), 800)) == [1]


def test_records_take_keys_partitions_and_headers_of_their_requests() -> None:
    batch = batch_of([b"a", None, b"c"], [None, [("h", None)], None])
    chosen = _like_requests("outputs", batch, np.array([1, 2]), ByteStrings.of([b"x", b"y"]), headers=True)
    assert (chosen.keys, chosen.partitions.tolist()) == ([None, b"c"], [1, 2])
    assert [unpacked(each) for each in chosen.headers] == [[("h", None)], []]
    everything = _like_requests("audit", batch, np.arange(3), ByteStrings.of([b"x", b"y", b"z"]), headers=False)
    assert (everything.keys, everything.partitions.tolist()) == ([b"a", None, b"c"], [0, 1, 2])
    assert not everything.headers.given.any()


def test_requests_of_very_many_windows_make_no_summary_that_its_topic_refuses() -> None:
    count, limit, names = 400, 20_000, ("control", "canary")
    rows, everyone = np.arange(count), np.zeros(count, np.int8)
    reflection = Reflection(rows, np.full(count, Outcome.FALLBACK_TIMEOUT, np.int8), rows, everyone - 1)
    predictions = Predictions(everyone, everyone, rows, {}, {}, {1: reflection})
    requests = RequestColumns(rows, ByteStrings.repeated(b"id", count), rows * 10**12, {}, {})
    routing = Routing(
        ByteStrings.repeated(None, count), np.full(count, -1, np.int16), np.full(count, -1, np.int16), everyone
    )
    topics = Topics("shop")
    summaries = SummaryEncoder(packaged("summary").header)
    sealer = Sealer(
        topics,
        Encoders(OutputEncoder(b""), AuditEncoder(b""), summaries),
        "s-0",
        {topics.outputs: 10**6, topics.audit: 10**6, topics.dead_letters: 10**6, topics.summaries: limit},
        Stopwatch(),
    )
    provenance = Provenance("r", 1, names, ("a@1", "a@2"), ())
    served = Served(batch_of([b"k"] * count), requests, [], routing, predictions, provenance, JudgeSettings())
    sealed = [sealer.seal(served, Progress(1, {}, {}, {}, {}, None), 0) for _ in range(2)]
    written = [records for each in sealed for records in each.outgoing if records.topic == topics.summaries]
    assert all(record_size(b"s-0", value, None) <= limit for records in written for value in records.values)
    values = [value for records in written for value in records.values]
    parts = [SummaryReader(SchemaStore()).read(value) for value in values if value is not None]
    assert [part.sequence for part in parts] == list(range(len(parts)))
    for counts in ([window for part in parts for window in part.windows], [each for p in parts for each in p.mirrored]):
        assert sum(each.requests for each in counts) == 2 * count
