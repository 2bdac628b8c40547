"""Writes commands to the control log, and tells what came of them."""

import time

from confluent_kafka import KafkaError, KafkaException, Message

from streamsplit.core.commands import Command
from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import ControlFollower, Verdict
from streamsplit.kafka.topics import Topics
from streamsplit.wire.commands import encode_command

_MISSING = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's own code
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - librdkafka's own code
}
_WRITE_SECONDS = 10.0


class ControlWriter:
    """Appends commands to the control log: acks=all, one in flight.

    A repetition after a lost answer has the same `command_id`, so that the fold takes it once. An idempotent producer
    would need half a second to get ready, which an abort does not have.

    Args:
        connection: The way to the broker.
        topic: The control topic.
        timeout: Longest time for one command, in seconds.
    """

    def __init__(self, connection: Connection, topic: str, *, timeout: float = _WRITE_SECONDS) -> None:
        self._topic = topic
        self._timeout = timeout
        self._producer = connection.producer(
            "streamsplit-commands",
            enable_idempotence=False,
            acks="all",
            max_in_flight=1,
            message_timeout_ms=int(timeout * 1000),
            # A topic that is not there is an answer, not something to wait half a minute for.
            topic_metadata_propagation_max_ms=1000,
        )

    def write(self, command: Command) -> int:
        """Writes one command and returns its offset.

        Raises:
            ServiceError: It was not written, or nobody knows; repeating it with the same `command_id` is safe.
            ValueError: The command cannot be encoded.
        """
        answers: list[tuple[KafkaError | None, Message]] = []
        try:
            self._producer.produce(
                self._topic,
                encode_command(command),
                partition=0,
                on_delivery=lambda error, message: answers.append((error, message)),
            )
        except KafkaException as failure:
            raise self._failure(failure.args[0]) from failure
        self._producer.flush(self._timeout + 1)
        if not answers:
            raise ServiceError(f"{self._topic}: nobody knows whether the command was written; `streamsplit history`")
        error, message = answers[0]
        if error is not None:
            raise self._failure(error)
        offset = message.offset()
        assert offset is not None
        return offset

    def _failure(self, error: KafkaError) -> ServiceError:
        if error.code() in _MISSING:
            return ServiceError(f"topic {self._topic} is missing: streamsplit topics create")
        return ServiceError(f"the command could not be written to {self._topic}: {error.str()}")


def submit(connection: Connection, topics: Topics, command: Command, timeout: float = _WRITE_SECONDS) -> Verdict:
    """Writes a command and follows the log until the fold has judged it.

    Args:
        connection: The way to the broker.
        topics: The deployment's topics.
        command: The command.
        timeout: Longest time for all of it, in seconds.

    Raises:
        ServiceError: It could not be written, or not be read back in time.
        ValueError: The command cannot be encoded.
    """
    deadline = time.monotonic() + timeout
    with ControlFollower(connection, topics.control) as follower:
        offset = ControlWriter(connection, topics.control, timeout=timeout).write(command)
        return follower.verdict(offset, max(0.0, deadline - time.monotonic()))
