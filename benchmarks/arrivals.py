"""When each output arrived at a read-committed consumer, and how long after its request that was."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition
from numpy.typing import NDArray

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection

_POLL_SECONDS = 0.05


class Arrivals:
    """A consumer that notes the time of every record.

    Args:
        connection: The brokers.
        topic: Topic of outputs, read from its beginning.
        partitions: Of the topic.
    """

    def __init__(self, connection: Connection, topic: str, partitions: int) -> None:
        self._consumer = connection.reader("bench-arrivals")
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])
        self._times: list[list[int]] = [[] for _ in range(partitions)]

    def close(self) -> None:
        """End the consumer."""
        self._consumer.close()

    @property
    def count(self) -> int:
        """Records that have arrived."""
        return sum(map(len, self._times))

    @property
    def times(self) -> list[NDArray[np.int64]]:
        """For each partition the times of its records, int64 nanoseconds since the epoch, in their order."""
        return [np.array(each, np.int64) for each in self._times]

    def listen(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> bool:
        """Note what arrives for so long, or until it is enough; whether it was enough.

        Raises:
            ServiceError: The topic cannot be read.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if enough():
                return True
            message = self._consumer.poll(_POLL_SECONDS)
            now = time.time_ns()
            if message is None:
                continue
            error, partition = message.error(), message.partition()
            if error is None and partition is not None:
                self._times[partition].append(now)
            elif error is not None and error.code() != KafkaError._PARTITION_EOF and not error.retriable():  # noqa: SLF001 # the library's own name
                raise ServiceError(f"outputs cannot be read: {error.str()}")
        return enough()


def delays(
    sent: Sequence[NDArray[np.int64]], arrived: Sequence[NDArray[np.int64]], begin: int, end: int
) -> NDArray[np.float64]:
    """Milliseconds from each request to its output.

    Outputs keep the partition and the order of their requests, one for each.

    Args:
        sent: For each partition when its requests were sent, nanoseconds since the epoch.
        arrived: For each partition when its outputs arrived, likewise.
        begin: Requests before this time are left out.
        end: Requests from this time on are left out.

    Raises:
        ServiceError: Outputs are missing or too many, so that nobody knows which belongs to which request.
    """
    if [len(each) for each in sent] != [len(each) for each in arrived]:
        raise ServiceError(
            f"{sum(map(len, arrived))} outputs arrived of {sum(map(len, sent))} requests: the rate is too high"
        )
    chosen = [(begin <= each) & (each < end) for each in sent]
    columns = zip(sent, arrived, chosen, strict=True)
    return np.concatenate([(after[mask] - before[mask]) / 1e6 for before, after, mask in columns])
