"""Records on their way to a topic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.headers import Headers, packed


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Records for one topic, as columns of one length.

    Attributes:
        topic: Where they go.
        values: Record values; a null is a tombstone.
        keys: Record keys.
        partitions: int32 (k,), partition numbers.
        headers: Their packed headers (`core/headers.py`), null where a record has none.
    """

    topic: str
    values: ByteStrings
    keys: ByteStrings
    partitions: NDArray[np.int32]
    headers: ByteStrings

    @classmethod
    def of(
        cls,
        topic: str,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None] | None = None,
        partitions: Sequence[int] | None = None,
        headers: Sequence[Headers | None] | None = None,
    ) -> "Outgoing":
        """A few records: without `keys` they have none, without `partitions` they go to partition 0."""
        count = len(values)
        return cls(
            topic,
            ByteStrings.of(values),
            ByteStrings.repeated(None, count) if keys is None else ByteStrings.of(keys),
            np.zeros(count, np.int32) if partitions is None else np.array(partitions, np.int32),
            ByteStrings.repeated(None, count) if headers is None else ByteStrings.of([*map(packed, headers)]),
        )
