"""Sends flights at a steady rate, and writes down when each was sent.

    python -m benchmarks.sender '{"brokers": "127.0.0.1:9092", ...}'

It goes on until it is stopped, and leaves behind a file with one array for each partition: the times at which its
records were handed to the client, int64 nanoseconds since the epoch, in their order. Within a partition the n-th time
belongs to the n-th record.
"""

import json
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from confluent_kafka import Producer
from numpy.typing import NDArray

from benchmarks.loads import Record, flights
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection

_DISTINCT = 20_000
_TICK_SECONDS = 0.001
_CATCH_UP_SECONDS = 0.05
"""A sender that was held up catches up with this much at most: a flood is not what is measured."""

_FLUSH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sending:
    """What to send.

    Attributes:
        brokers: Bootstrap servers.
        topic: Where to.
        partitions: Of the topic.
        rate: Records a second.
        out: File of the times.
    """

    brokers: str
    topic: str
    partitions: int
    rate: float
    out: str

    def text(self) -> str:
        """As the command line wants it."""
        return json.dumps(asdict(self))


def run(sending: Sending, stop: threading.Event) -> None:
    """Send until stopped.

    Raises:
        ServiceError: Some records were not acknowledged.
    """
    records = flights().records(_DISTINCT)
    producer = Connection(sending.brokers).producer("bench-sender")
    times = _send(producer, sending, records, stop)
    if left := producer.flush(_FLUSH_SECONDS):
        raise ServiceError(f"{left} records were not acknowledged within {_FLUSH_SECONDS:.0f} s")
    with Path(sending.out).open("wb") as file:
        np.savez(file, *(np.array(each, np.int64) for each in times))


def sent(path: Path) -> list[NDArray[np.int64]]:
    """The times of each partition that a sender left behind."""
    with np.load(path) as file:
        return [file[f"arr_{number}"] for number in range(len(file.files))]


def _send(producer: Producer, sending: Sending, records: list[Record], stop: threading.Event) -> list[list[int]]:
    places = [crc32(key or value) % sending.partitions for key, value in records]
    times: list[list[int]] = [[] for _ in range(sending.partitions)]
    number, due, before = 0, 0.0, time.monotonic()
    while not stop.wait(_TICK_SECONDS):
        now = time.monotonic()
        due, before = min(due + (now - before) * sending.rate, _CATCH_UP_SECONDS * sending.rate), now
        while due >= 1:
            at = number % len(records)
            key, value = records[at]
            times[places[at]].append(time.time_ns())
            producer.produce(sending.topic, value, key, places[at])
            number, due = number + 1, due - 1
        producer.poll(0)
    return times


if __name__ == "__main__":
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    run(Sending(**json.loads(sys.argv[1])), stopped)
