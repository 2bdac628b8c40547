"""Consumed records as the columns of a batch, and where a batch ends."""

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
        values=[message.value() for message in messages],
        keys=[message.key() for message in messages],
        headers=[message.headers() for message in messages],  # type: ignore[misc] # consumed headers are lists of pairs
        partitions=np.fromiter((message.partition() for message in messages), np.int32, count),
        offsets=np.fromiter((message.offset() for message in messages), np.int64, count),
        timestamps=np.fromiter((message.timestamp()[1] for message in messages), np.int64, count),
    )
