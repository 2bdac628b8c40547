"""Writes a worker's status to the topic `workers`, without transactions: Faust reads it."""

import json
import logging
import time
from typing import Any

from confluent_kafka import KafkaException, Producer

from streamsplit.service.report import Incarnation, Parts, compose
from streamsplit.service.tally import Tally

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 2.0


class Announcer:
    """Says how this worker is.

    Args:
        incarnation: Who it is.
        producer: Writes without transactions.
        topic: Where its status goes.
        tally: What it has done.
    """

    def __init__(self, incarnation: Incarnation, producer: Producer, topic: str, tally: Tally) -> None:
        self._incarnation = incarnation
        self._producer = producer
        self._topic = topic
        self._tally = tally

    def status(self, parts: Parts, *, stopping: bool) -> dict[str, Any]:
        """The status of this moment, as plain values."""
        return compose(self._incarnation, parts, self._tally, time.monotonic(), stopping=stopping).to_dict()

    def announce(self, parts: Parts, *, stopping: bool) -> None:
        """Write it; a status that cannot be written is followed by another a second later."""
        value = json.dumps(self.status(parts, stopping=stopping)).encode()
        try:
            self._producer.produce(self._topic, value, self._incarnation.slot.encode(), partition=0)
        except (BufferError, KafkaException) as error:
            logger.debug("status: %s", error)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the last one is written, two seconds at most."""
        self._producer.flush(_FLUSH_SECONDS)
