"""Consumed records as the columns of a batch, and where a batch ends."""

from operator import itemgetter

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from streamsplit.core.records import RawBatch


def next_of(batch: RawBatch) -> dict[int, int]:
    """Partition → the next offset after a batch."""
    return {number: last + 1 for number, last in _last_of(batch.partitions, batch.offsets).items()}


def first_of(batch: RawBatch) -> dict[int, int]:
    """Partition → the first offset of a batch."""
    return _last_of(batch.partitions[::-1], batch.offsets[::-1])


def _last_of(partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> dict[int, int]:
    """Partition → the last of its offsets, by partition."""
    # Where an index is repeated, numpy keeps what comes last.
    last = np.full(int(partitions.max(initial=-1)) + 1, -1)
    last[partitions] = offsets
    numbers = np.flatnonzero(last >= 0)
    return dict(zip(numbers.tolist(), last[numbers].tolist(), strict=True))


def batch_of(epoch: int, messages: list[Message]) -> RawBatch:
    """The columns of consumed records."""
    count = len(messages)
    return RawBatch(
        epoch=epoch,
        values=list(map(Message.value, messages)),
        keys=list(map(Message.key, messages)),
        headers=list(map(Message.headers, messages)),  # type: ignore[arg-type] # consumed headers are lists of pairs
        partitions=np.fromiter(map(Message.partition, messages), np.int32, count),
        offsets=np.fromiter(map(Message.offset, messages), np.int64, count),
        timestamps=np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, count),
    )
