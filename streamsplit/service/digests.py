"""Digests of what a transaction writes to `audit` and `dead-letters`, for its summary."""

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.audit_digest import stretch_digest
from streamsplit.core.byte_strings import ByteStrings
from streamsplit.kafka.outgoing import Outgoing

_NONE = ByteStrings.of([])


def digests_of(
    partitions: NDArray[np.int32], audited: NDArray[np.int64], audit: ByteStrings, dead_letters: Outgoing
) -> dict[int, bytes]:
    """Partition → the digest of its records, 32 bytes.

    Args:
        partitions: int (n,), of each record of the batch.
        audited: int (m,), which of them have an audit record.
        audit: The m values of these, as they are produced.
        dead_letters: The dead letters, as they are produced.
    """
    audits = _by_partition(partitions if len(audited) == len(partitions) else partitions[audited], audit)
    letters = _by_partition(dead_letters.partitions, dead_letters.values)
    numbers = np.flatnonzero(np.bincount(partitions)).tolist()
    return {number: stretch_digest(audits.get(number, _NONE), letters.get(number, _NONE)) for number in numbers}


def _by_partition(numbers: NDArray[np.int32], values: ByteStrings) -> dict[int, ByteStrings]:
    """The values for each partition, in their order."""
    if not len(values):
        return {}
    if (numbers[1:] < numbers[:-1]).any():
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        values = values.at(order)
    starts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist()]
    ends = [*starts[1:], len(values)]
    return {int(numbers[start]): values[start:end] for start, end in zip(starts, ends, strict=True)}
