"""Where a batch begins and ends."""

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.records import RawBatch


def next_of(batch: RawBatch) -> dict[int, int]:
    """Partition → the next offset after a batch."""
    return {number: last + 1 for number, last in last_of(batch.partitions, batch.offsets).items()}


def first_of(batch: RawBatch) -> dict[int, int]:
    """Partition → the first offset of a batch."""
    return last_of(batch.partitions[::-1], batch.offsets[::-1])


def last_of(partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> dict[int, int]:
    """Partition → the last of its offsets, by partition."""
    # Where an index is repeated, numpy keeps what comes last.
    last = np.full(int(partitions.max(initial=-1)) + 1, -1)
    last[partitions] = offsets
    numbers = np.flatnonzero(last >= 0)
    return dict(zip(numbers.tolist(), last[numbers].tolist(), strict=True))
