"""The newest status of every worker, and when it arrived here."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from streamsplit.core.errors import ServiceError
from streamsplit.core.status import Status
from streamsplit.kafka.clients import Connection

GONE_SECONDS = 5.0
"""A worker that has said nothing for so long is gone."""

_POLL_SECONDS = 0.1
_FIRST_SECONDS = 1.2
_READ_SECONDS = 10.0
_PASSING = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT}  # noqa: SLF001 # library's names


@dataclass(frozen=True, slots=True)
class Arrival:
    """A worker's newest status.

    Attributes:
        status: What it says.
        arrived: When it arrived here, on the monotonic clock; None where it was there before the reader came, so that
            nobody can say whether its worker still lives.
    """

    status: Status
    arrived: float | None


class StatusReader:
    """Follows the topic `workers`.

    Args:
        connection: The way to the broker.
        topic: Name of the topic.
        clock: Monotonic seconds.
    """

    def __init__(self, connection: Connection, topic: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._topic = topic
        self._latest: dict[str, Arrival] = {}
        self._caught_up = False
        self._consumer: Consumer = connection.reader("streamsplit-statuses", isolation_level="read_uncommitted")
        self._consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])

    def close(self) -> None:
        """End the consumer."""
        self._consumer.close()

    @property
    def latest(self) -> Mapping[str, Arrival]:
        """Slot → newest status, of workers living and gone."""
        return self._latest

    def alive(self) -> dict[str, Status]:
        """Slot → newest status of the workers heard within `GONE_SECONDS` that do not stop."""
        since = self._clock() - GONE_SECONDS
        return {
            slot: arrival.status
            for slot, arrival in self._latest.items()
            if arrival.arrived is not None and arrival.arrived >= since and not arrival.status.stopping
        }

    def read_to_end(self, seconds: float = _READ_SECONDS) -> None:
        """Take in all that is there.

        Raises:
            ServiceError: When the end is not reached in time, or the topic cannot be read.
        """
        deadline = self._clock() + seconds
        while not self._caught_up:
            if self._clock() > deadline:
                raise ServiceError(f"the topic {self._topic} could not be read to its end within {seconds:.0f} s")
            self.poll()

    def listen(self, seconds: float) -> None:
        """Take in all that is there, then listen until every worker was heard again, at most so many seconds."""
        self.read_to_end()
        began = self._clock()
        # Where no worker ever spoke, one that has just come is heard within its second.
        while self._clock() < began + (seconds if self._latest else min(seconds, _FIRST_SECONDS)):
            if self._heard_all():
                return
            self.poll()

    def poll(self, seconds: float = _POLL_SECONDS) -> list[Status]:
        """Take in what arrives within so many seconds; return each status, older ones of a slot as well.

        Raises:
            ServiceError: When the topic cannot be read.
        """
        taken = [self._take(message) for message in self._consumer.consume(500, seconds)]
        return [status for status in taken if status is not None]

    def _heard_all(self) -> bool:
        return bool(self._latest) and all(
            arrival.arrived is not None or arrival.status.stopping for arrival in self._latest.values()
        )

    def _take(self, message: Message) -> Status | None:
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 # the library's own name for it
                self._caught_up = True
            elif not error.retriable() and error.code() not in _PASSING:
                raise ServiceError(
                    f"the topic {self._topic} cannot be read: {error.str()}; `streamsplit topics check` says more"
                )
            return None
        slot, value = (message.key() or b"").decode(errors="replace"), message.value()
        if value is None:
            self._latest.pop(slot, None)
            return None
        try:
            status = Status.from_dict(json.loads(value))
        except ValueError:
            return None  # somebody else's record, or one of a program that we cannot know
        self._latest[slot] = Arrival(status, self._clock() if self._caught_up else None)
        return status
