"""Fetched records as columns: the lane's own queue of the client, read without a Python object a record.

confluent-kafka's consumer serves the group: callbacks, positions, errors. The records of its partitions are forwarded
to a queue beside its own (`rd_kafka_queue_forward`), from which only records and what goes wrong with a partition
come. Both are read by the lane's thread.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from confluent_kafka import KafkaError, KafkaException
from numpy.typing import NDArray

from streamsplit.core.byte_strings import PADDING, ByteStrings
from streamsplit.core.errors import ServiceError
from streamsplit.core.records import RawBatch
from streamsplit.native import library as native

_Client = TypeVar("_Client")
_MOST_WORDS = 1_000
_NO_PLUGINS = "librdkafka does not load plugins: install confluent-kafka from its wheel"


def with_handle(make: Callable[[dict[str, Any]], _Client], settings: Mapping[str, Any]) -> tuple[_Client, int]:
    """A client of confluent-kafka, and librdkafka's handle of it, which is valid as long as the client is known.

    Raises:
        ServiceError: librdkafka does not load plugins.
    """
    library = native.library()
    try:
        client = make({**settings, "plugin.library.paths": ";".join([*_plugins(settings), native.path()])})
    except KafkaException as error:
        if "plugin.library.paths" not in str(error):
            raise
        raise ServiceError(_NO_PLUGINS) from error
    handle: int | None = library.streamsplit_newest()
    if handle is None:
        raise ServiceError(_NO_PLUGINS)
    return client, handle


def _plugins(settings: Mapping[str, Any]) -> list[str]:
    """Those that the settings name themselves."""
    return [each for each in str(settings.get("plugin.library.paths", "")).split(";") if each]


@dataclass(frozen=True, slots=True)
class Failure:
    """What the client says of a partition instead of a record.

    Attributes:
        partition: Its number; -1 where it is about none.
        offset: Where; a negative number where it is about no place.
        error: What it is; also the end of a partition.
    """

    partition: int
    offset: int
    error: KafkaError


@dataclass(frozen=True, slots=True)
class Taken:
    """What came.

    Attributes:
        partitions: int32 (k,), of each record, in the order they came.
        offsets: int64 (k,).
        failures: What came beside them.
    """

    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    failures: tuple[Failure, ...] = ()


class RecordQueue:
    """Records of one topic that were taken from the client and are no batch yet; all methods belong to one thread.

    Args:
        handle: Of the consumer, as of `with_handle`.
        topic: The topic.
        room: Most records it holds.
    """

    def __init__(self, handle: int, topic: str, room: int) -> None:
        self._client = ctypes.c_void_p(handle)
        self._topic = topic.encode()
        self._library = native.library()
        self._kafka = native.client()
        self._queue = ctypes.c_void_p(self._kafka.rd_kafka_queue_new(self._client))
        self._followed: dict[int, ctypes.c_void_p] = {}
        self._messages = np.zeros(room, np.uint64)
        self._codes = np.empty(room, np.int32)
        self._partitions = np.empty(room, np.int32)
        self._offsets = np.empty(room, np.int64)
        self._sizes = np.empty(room, np.int64)
        self._held = 0
        self._closed = False

    def __len__(self) -> int:
        """Records that it holds."""
        return self._held

    @property
    def held_bytes(self) -> int:
        """Bytes of their values."""
        return int(self._sizes[: self._held].sum())

    def follow(self, numbers: Iterable[int]) -> None:
        """Have the records of some partitions come here; to be called before each assignment of them, and after it.

        The group may still assign while its consumer closes: by then there is nothing here any more to come to.
        """
        for number in () if self._closed else numbers:
            # Asked for anew: a partition that was gone in between has another queue.
            found = self._kafka.rd_kafka_queue_get_partition(self._client, self._topic, ctypes.c_int32(number))
            queue, before = ctypes.c_void_p(found), self._followed.get(number)
            if before is not None:
                self._kafka.rd_kafka_queue_destroy(before)
            self._followed[number] = queue
            self._kafka.rd_kafka_queue_forward(queue, self._queue)

    def take(self, most: int, seconds: float) -> Taken:
        """Wait until so many records are there, or so long; take those that are."""
        first = self._held
        count = max(
            0,
            self._library.streamsplit_take(
                self._queue,
                ctypes.c_int(round(seconds * 1000)),
                ctypes.c_int64(min(most, len(self._messages) - first)),
                *(native.pointer(each, first) for each in self._columns),
            ),
        )
        self._held += count
        failures = self._failures(first)
        return Taken(self._partitions[first : self._held].copy(), self._offsets[first : self._held].copy(), failures)

    @property
    def _columns(self) -> tuple[NDArray[Any], ...]:
        return self._messages, self._codes, self._partitions, self._offsets, self._sizes

    def _failures(self, first: int) -> tuple[Failure, ...]:
        """Take out what is no record, from place `first` on."""
        places = first + np.flatnonzero(self._codes[first : self._held])
        if not places.size:
            return ()
        failures = tuple(self._failure(place) for place in places.tolist())
        self._drop(places)
        return failures

    def _failure(self, place: int) -> Failure:
        words = np.empty(_MOST_WORDS, np.uint8)
        message = ctypes.c_void_p(int(self._messages[place]))
        size = self._library.streamsplit_words(message, native.pointer(words), ctypes.c_int64(_MOST_WORDS))
        error = KafkaError(int(self._codes[place]), words[:size].tobytes().decode(errors="replace"))
        return Failure(int(self._partitions[place]), int(self._offsets[place]), error)

    def keep(self, last: NDArray[np.bool_]) -> None:
        """Of the records that were taken last, bool (k,), keep these alone."""
        if not last.all():
            self._drop(self._held - len(last) + np.flatnonzero(~last))

    def _drop(self, places: NDArray[np.int64]) -> None:
        going = self._messages[places]
        self._library.streamsplit_destroy(native.pointer(going), ctypes.c_int64(len(going)))
        staying = np.ones(self._held, np.bool_)
        staying[places] = False
        left = self._held - len(places)
        for column in self._columns:
            column[:left] = column[: self._held][staying]
        self._held = left

    def clear(self) -> None:
        """Hold nothing any more."""
        self._drop(np.arange(self._held))

    def fitting(self, most_bytes: int) -> int:
        """How many of the records it holds, the oldest first, have so many bytes together; one at least."""
        ends = np.cumsum(self._sizes[: self._held])
        return max(1, int(np.searchsorted(ends, most_bytes, "right")))

    def batch(self, epoch: int, count: int) -> RawBatch:
        """Take out the oldest `count` records as the columns of a batch."""
        totals = np.empty(3, np.int64)
        messages, number = native.pointer(self._messages), ctypes.c_int64(count)
        self._library.streamsplit_measure(messages, number, native.pointer(totals))
        size = int(totals.sum())
        buffer = np.empty(size + PADDING, np.uint8)
        buffer[size:] = 0
        starts, lengths = np.empty((3, count), np.int64), np.empty((3, count), np.int64)
        timestamps = np.empty(count, np.int64)
        arrays: tuple[NDArray[Any], ...] = (totals, buffer, starts, lengths, timestamps)
        self._library.streamsplit_unpack(messages, number, *(native.pointer(each) for each in arrays))
        values, keys, headers = (ByteStrings(buffer, *each) for each in zip(starts, lengths, strict=True))
        batch = RawBatch(
            epoch, values, keys, headers, self._partitions[:count].copy(), self._offsets[:count].copy(), timestamps
        )
        left = self._held - count
        for column in self._columns:
            column[:left] = column[count : self._held].copy()
        self._held = left
        return batch

    def close(self) -> None:
        """Give everything back; before the consumer is closed."""
        self._closed = True
        self.clear()
        for queue in self._followed.values():
            self._kafka.rd_kafka_queue_forward(queue, None)
            self._kafka.rd_kafka_queue_destroy(queue)
        self._followed.clear()
        self._kafka.rd_kafka_queue_destroy(self._queue)
