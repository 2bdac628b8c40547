"""Consumed records as the columns of a batch, and where a batch ends."""

from operator import itemgetter

import numpy as np
from confluent_kafka import Message

from streamsplit.core.records import RawBatch


def next_of(batch: RawBatch) -> dict[int, int]:
    """Partition → the next offset after a batch."""
    numbers = np.unique(batch.partitions)
    return {int(number): int(batch.offsets[batch.partitions == number].max()) + 1 for number in numbers}


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
