"""Records handed to a producer as columns, without a Python object a record."""

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Producer

from streamsplit.kafka.deadline import Deadline
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.kafka.record_queue import with_handle
from streamsplit.native import library as native

_POLL_SECONDS = 0.1


class RecordWriter:
    """A producer, and the topics it writes to.

    Args:
        settings: Of the producer.

    Attributes:
        producer: For everything but the records.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._topics: dict[str, ctypes.c_void_p] = {}
        self._library, self._kafka = native.library(), native.client()
        self.producer, handle = with_handle(Producer, settings)
        self._client = ctypes.c_void_p(handle)

    def write(self, records: Outgoing, deadline: Deadline) -> None:
        """Hand over all records, in order; waits for room where the producer's queue is full.

        Raises:
            KafkaException: One was refused; those before it are in the producer's queue.
        """
        count = len(records.values)
        scratch = np.empty(count * self._library.streamsplit_message_bytes(), np.uint8)
        partitions = np.ascontiguousarray(records.partitions, np.int32)
        values, keys = native.strings(records.values), native.strings(records.keys)
        headers = native.strings(records.headers) if records.headers.given.any() else None
        refused, done, topic = ctypes.c_int32(), 0, self._topic(records.topic, deadline)
        while True:
            done = self._library.streamsplit_produce(
                self._client,
                topic,
                ctypes.c_int64(done),
                ctypes.c_int64(count),
                ctypes.byref(values),
                ctypes.byref(keys),
                native.pointer(partitions),
                None if headers is None else ctypes.byref(headers),
                native.pointer(scratch),
                ctypes.byref(refused),
            )
            if done == count:
                break
            if refused.value != KafkaError._QUEUE_FULL or deadline.passed:  # noqa: SLF001 # librdkafka's own codes begin with _
                # A producer that has failed for good says so of each record, and not why.
                fatal = refused.value == KafkaError._FATAL  # noqa: SLF001 # as above
                raise KafkaException(KafkaError(refused.value, fatal=fatal))
            self.producer.poll(min(_POLL_SECONDS, deadline.left))
        self.producer.poll(0)

    def _topic(self, name: str, deadline: Deadline) -> ctypes.c_void_p:
        """The client's handle of a topic whose partitions it knows.

        A batch for a topic that the client has not heard of would add partition -1 to the transaction, which the
        brokers refuse (librdkafka 2.16).
        """
        topic = self._topics.get(name)
        if topic is None:
            self._await(name, deadline)
            found = self._kafka.rd_kafka_topic_new(self._client, name.encode(), None)
            topic = self._topics[name] = ctypes.c_void_p(found)
        return topic

    def _await(self, topic: str, deadline: Deadline) -> None:
        """Return when the client has heard of a topic; brokers learn of a new one one after the other."""
        while error := self.producer.list_topics(topic, timeout=deadline.left).topics[topic].error:
            if deadline.passed:
                raise KafkaException(error)
            self.producer.poll(min(_POLL_SECONDS, deadline.left))

    def throw_away(self) -> None:
        """Forget what it still holds; the producer ends as soon as nobody knows it any more, within milliseconds.

        Not `Producer.close()`, which aborts first: a producer whose transaction has timed out does so under a new
        epoch, which fences the successor that has taken its place meanwhile (librdkafka 2.16).
        """
        self.producer.purge()

    def __del__(self) -> None:
        """Give the topics back, before the producer; not sooner: another thread may be in the middle of `write`."""
        for topic in self._topics.values():
            self._kafka.rd_kafka_topic_destroy(topic)
