"""Asks again and again where a topic's only partition ends and whether it is still the same topic, without waiting."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # their documented place

_MISSING = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}  # noqa: SLF001 - librdkafka's own codes
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call] # the library ships no types for it
_INTERVAL_SECONDS = 0.5
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the broker said.

    Attributes:
        asked: When it was asked, monotonic seconds: the answer holds everything written before.
        position: How far the asker had read when it asked; a smaller `end` is an end that fell.
        topic_id: The topic's identity; None where there is no such topic or no answer.
        end: Behind the last committed record; None where there is no answer.
        missing: The broker says that there is no such topic.
        error: Why there is no answer; None where there is.
    """

    asked: float
    position: int
    topic_id: str | None = None
    end: int | None = None
    missing: bool = False
    error: str | None = None


class LogEnd:
    """Looks at partition 0 of a topic.

    Args:
        admin: The client that asks.
        topic: The topic.
    """

    def __init__(self, admin: AdminClient, topic: str) -> None:
        self._admin = admin
        self._topic = topic
        self._asked = float("-inf")
        self._position = 0
        self._identity: Future[Any] | None = None
        self._offset: Future[Any] | None = None

    def look(self, now: float, position: int) -> Look | None:
        """An answer that has arrived, or None; asks again when it is time.

        Args:
            now: Monotonic seconds.
            position: How far the asker has read.
        """
        if self._identity is None or self._offset is None:
            if now - self._asked >= _INTERVAL_SECONDS:
                self._ask(now, position)
            return None
        if not (self._identity.done() and self._offset.done()):
            return None
        identity, offset = self._identity, self._offset
        self._identity = self._offset = None
        try:
            topic_id = str(identity.result().topic_id)
            return Look(self._asked, self._position, topic_id, int(offset.result().offset))
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            if error.code() in _MISSING:
                return Look(self._asked, self._position, missing=True)
            return Look(self._asked, self._position, error=error.str())

    def _ask(self, now: float, position: int) -> None:
        self._asked, self._position = now, position
        partition = TopicPartition(self._topic, 0)
        try:
            (self._identity,) = self._admin.describe_topics(
                TopicCollection([self._topic]), request_timeout=_ANSWER_SECONDS
            ).values()
            (self._offset,) = self._admin.list_offsets(
                {partition: _LATEST},
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=_ANSWER_SECONDS,
            ).values()
        except KafkaException as failure:
            self._identity = self._offset = Future()
            self._identity.set_exception(failure)
