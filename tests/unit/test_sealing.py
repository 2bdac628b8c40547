"""What a topic would refuse is found before a transaction begins."""

import numpy as np
import pytest

from streamsplit.core.records import Headers, RawBatch
from streamsplit.service.sealing import _like_requests, _too_large
from streamsplit.wire.dead_letters import record_size


def batch_of(keys: list[bytes | None], headers: list[Headers | None] | None = None) -> RawBatch:
    """Records of one partition each."""
    count = len(keys)
    return RawBatch(
        epoch=1,
        values=[b""] * count,
        keys=keys,
        headers=headers or [None] * count,
        partitions=np.arange(count, dtype=np.int32),
        offsets=np.arange(count, dtype=np.int64),
        timestamps=np.zeros(count, np.int64),
    )


def test_nothing_is_too_large_where_everything_fits() -> None:
    assert _too_large(batch_of([b"k", None]), [0, 1], [b"x" * 10, b"y" * 10], 1_000) == {}
    assert _too_large(batch_of([]), [], [], 1) == {}


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_limit_itself_fits(spare: int) -> None:
    value = b"x" * 500
    limit = record_size(b"key", value, None) + spare
    expected = {} if spare >= 0 else {0: limit + 1}
    assert _too_large(batch_of([b"key"]), [0], [value], limit) == expected


def test_the_long_key_of_one_and_the_long_value_of_another_are_not_added_up() -> None:
    batch = batch_of([b"k" * 400, b"k"])
    assert _too_large(batch, [0, 1], [b"v", b"v" * 400], 600) == {}


def test_headers_count_and_rows_are_those_of_the_values() -> None:
    batch = batch_of([b"a", b"b", b"c"], [None, None, [("trace", b"x" * 900)]])
    assert list(_too_large(batch, [0, 2], [b"v", b"v"], 800)) == [1]


def test_records_take_keys_partitions_and_headers_of_their_requests() -> None:
    batch = batch_of([b"a", None, b"c"], [None, [("h", None)], None])
    chosen = _like_requests("outputs", batch, [1, 2], [b"x", b"y"], headers=True)
    assert (chosen.keys, chosen.partitions, chosen.headers) == ([None, b"c"], [1, 2], [[("h", None)], None])
    everything = _like_requests("audit", batch, [0, 1, 2], [b"x", b"y", b"z"], headers=False)
    assert (list(everything.keys), everything.partitions, everything.headers) == ([b"a", None, b"c"], [0, 1, 2], None)
