"""Consumed records as the columns of a batch, and where a batch ends."""

from operator import itemgetter

import numpy as np
from confluent_kafka import Message

from streamsplit.core.records import RawBatch


def next_of(batch: RawBatch) -> dict[int, int]:
    """Partition → the next offset after a batch."""
    # Offsets ascend within a partition, so that the last one of each stays.
    last = dict(zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True))
    return {number: last[number] + 1 for number in sorted(last)}


def first_of(batch: RawBatch) -> dict[int, int]:
    """Partition → the first offset of a batch."""
    return dict(zip(reversed(batch.partitions.tolist()), reversed(batch.offsets.tolist()), strict=True))


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
