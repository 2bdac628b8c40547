"""Records of the dead-letters topic: the original untouched, and Kafka Connect's `__connect.errors.*` headers.

A record too large for the topic goes there by reference: a small JSON of where the original is and what its sha256 was.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.headers import Headers, unpacked
from streamsplit.core.records import DeadLetter, RawBatch

PREFIX = "__connect.errors."

_BATCH_OVERHEAD = 61
"""Header of a record batch (Kafka's message format, version 2)."""
_RECORD_OVERHEAD = 21
"""Most bytes of a record's own length, attributes, timestamp and offset deltas."""
_LENGTH = 5
"""Most bytes of the varint before a key, value, header, or their count."""
_MOST_MESSAGE = 1_000
"""Most characters of an exception message in a header."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who writes dead letters, and of which topic.

    Attributes:
        topic: The request topic.
        connector: The deployment's name.
        task: The worker's slot.
    """

    topic: str
    connector: str
    task: str


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record as it is to be produced.

    Attributes:
        key: The key, or None.
        value: The value, or None.
        headers: The headers, in order.
    """

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def size(self) -> int:
        """See `record_size`."""
        return record_size(self.key, self.value, self.headers)


def record_size(key: bytes | None, value: bytes | None, headers: Headers | None) -> int:
    """Most bytes that a record, alone in its batch and not compressed, takes as Kafka counts `max.message.bytes`."""
    size = _BATCH_OVERHEAD + _RECORD_OVERHEAD + 3 * _LENGTH + len(key or b"") + len(value or b"")
    for name, content in headers or ():
        size += 2 * _LENGTH + len(name.encode(errors="surrogateescape")) + len(content or b"")
    return size


def size_bounds(keys: ByteStrings, values: ByteStrings, headers: ByteStrings) -> NDArray[np.int64]:
    """For each of m records what its `record_size` is at most, and exactly where it has no headers: int64 (m,)."""
    # A header is counted as ten bytes beside its name and value, and is packed with eight.
    sizes: NDArray[np.int64] = record_size(None, None, None) + keys.sizes + values.sizes + 2 * headers.sizes
    return sizes


def dead_letter_record(batch: RawBatch, letter: DeadLetter, origin: Origin, limit: int) -> OutgoingRecord:
    """The record for one dead letter.

    Args:
        batch: The raw records.
        letter: What is wrong with one of them.
        origin: Who writes it.
        limit: Most bytes (as of `record_size`) that the dead-letters topic accepts.

    Returns:
        The original with the headers of its error; by reference where that is larger than `limit`.
    """
    key, value = batch.keys[letter.row], batch.values[letter.row]
    headers = tuple(unpacked(batch.headers[letter.row]))
    errors = _errors(batch, letter, origin)
    whole = OutgoingRecord(key, value, headers + errors)
    return whole if whole.size <= limit else _by_reference(batch, letter.row, errors, limit)


def _by_reference(batch: RawBatch, row: int, errors: Headers, limit: int) -> OutgoingRecord:
    """Give up the value, then the headers, then the key, until the record fits."""
    key, value, headers = batch.keys[row], batch.values[row], tuple(unpacked(batch.headers[row]))
    reference: dict[str, int | str] = {
        "partition": int(batch.partitions[row]),
        "offset": int(batch.offsets[row]),
        "size": record_size(key, value, headers),
        "sha256": hashlib.sha256(value or b"").hexdigest(),
    }
    smaller = OutgoingRecord(key, _json(reference), (*headers, *errors))
    if smaller.size <= limit:
        return smaller
    reference["headers"] = len(headers)
    smaller = OutgoingRecord(key, _json(reference), tuple(errors))
    if smaller.size <= limit:
        return smaller
    reference["key_sha256"] = hashlib.sha256(key or b"").hexdigest()
    return OutgoingRecord(None, _json(reference), tuple(errors))


def _json(reference: Mapping[str, int | str]) -> bytes:
    return json.dumps(reference).encode()


def _errors(batch: RawBatch, letter: DeadLetter, origin: Origin) -> tuple[tuple[str, bytes], ...]:
    """Kafka Connect's headers of `errors.deadletterqueue.context.headers.enable`, in its order."""
    reason = letter.reason[:_MOST_MESSAGE]
    words = {
        "topic": origin.topic,
        "partition": str(batch.partitions[letter.row]),
        "offset": str(batch.offsets[letter.row]),
        "connector.name": origin.connector,
        "task.id": origin.task,
        "stage": letter.stage,
        "class.name": f"streamsplit.{letter.stage}",
        "exception.class.name": "streamsplit.core.errors.DataError",
        "exception.message": reason,
        "exception.stacktrace": f"streamsplit.core.errors.DataError: {letter.stage}: {reason}",
    }
    return tuple((PREFIX + name, word.encode(errors="backslashreplace")) for name, word in words.items())
