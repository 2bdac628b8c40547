"""The transactional producer of a lane.

A commit is five steps:

1. begin the transaction, when every byte of it is ready;
2. produce all records, each to its partition number;
3. send the source offsets, with the consumer group's metadata (KIP-447);
4. commit, which flushes first;
5. on any failure or unknown result: give up this producer. `restore()` makes a new one with the same id, whose
   `init_transactions()` ends whatever the old one left behind.

librdkafka has no KIP-890: after a time-out, a delayed EndTxn of a producer that is used again could hit its next
transaction. That is why step 5 knows no second try (docs/design.md section 5).
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamsplit.core.errors import ServiceError
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.deadline import Deadline
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.kafka.record_writer import RecordWriter

logger = logging.getLogger(__name__)

Checkpoint = Callable[[str], None]
"""Called with the name of each point a transaction passes; fault tests end the process there."""

COMMIT_SECONDS = 6.0
"""Longest commit; below the transaction time-out, so that an answer is ours and not an expiry's."""

LARGEST_BATCH = 1_000_000
"""Most bytes that records share a batch with, whatever the topics accept."""

_OPEN_SECONDS = 5.0
_TAKEN = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}  # noqa: SLF001 # librdkafka's own codes begin with _


class Fenced(ServiceError):
    """The producer or consumer has failed for good, mostly because another process took its slot; this one must end."""


class TransactionAborted(ServiceError):
    """The transaction did not commit, or nobody knows; what it held is read again from the committed offsets.

    Attributes:
        undecided: Whether nobody knows.
    """

    def __init__(self, reason: str, *, undecided: bool = False) -> None:
        super().__init__(reason)
        self.undecided = undecided


class Transaction:
    """One transactional id and the producer that holds it now.

    Args:
        connection: The brokers.
        transactional_id: Static: `<deployment>.<slot>`.
        timeout_seconds: After this the broker aborts an open transaction; below the group's session time-out.
        checkpoint: Fault tests' hook.
        batch_bytes: Most bytes that records share a batch with: a topic's `max.message.bytes` holds for a batch, so
            the smallest limit of all topics written.
    """

    def __init__(
        self,
        connection: Connection,
        transactional_id: str,
        timeout_seconds: float,
        checkpoint: Checkpoint = lambda _: None,
        batch_bytes: int = LARGEST_BATCH,
    ) -> None:
        self._config: dict[str, Any] = {
            **connection.client_config(),
            "transactional.id": transactional_id,
            "transaction.timeout.ms": int(timeout_seconds * 1000),
            "linger.ms": 5,
            # The coordinator refuses a transaction while it still writes the markers of the one before (milliseconds).
            "retry.backoff.ms": 2,
            "retry.backoff.max.ms": 200,
            "batch.num.messages": 10_000,
            "batch.size": min(LARGEST_BATCH, batch_bytes),
            "message.max.bytes": 1_000_000_000,  # the topic decides; sizes are checked before
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_048_576,
        }
        self._checkpoint = checkpoint
        self._commit_seconds = min(COMMIT_SECONDS, 0.75 * timeout_seconds)
        self._writer: RecordWriter | None = None
        self.transactional_id = transactional_id

    @property
    def open(self) -> bool:
        """Whether a producer stands ready."""
        return self._writer is not None

    def restore(self) -> None:
        """Make a producer where there is none, ending what its predecessor left behind.

        Raises:
            Fenced: Another process took the id meanwhile.
            ServiceError: The brokers did not answer in time; call again.
        """
        if self._writer is not None:
            return
        writer = RecordWriter(self._config)
        try:
            writer.producer.init_transactions(_OPEN_SECONDS)
        except KafkaException as error:
            writer.throw_away()
            raise self._judged(error, "init_transactions") from error
        self._writer = writer

    def commit(self, outgoing: Sequence[Outgoing], offsets: Sequence[TopicPartition], group: object | None) -> None:
        """Write all records and the source offsets, or none of them.

        Args:
            outgoing: What to write.
            offsets: The next offset of each source partition, with its metadata; may be empty.
            group: Metadata of the joined consumer, as new as can be; of no meaning where there are no offsets.

        Raises:
            Fenced: This process must end.
            TransactionAborted: Nothing may be visible; `restore()`, then read again from the committed offsets.
        """
        writer = self._writer
        if writer is None:
            raise TransactionAborted("the transactional producer is not open")
        producer = writer.producer
        deadline = Deadline(self._commit_seconds)
        step = "begin"
        try:
            producer.begin_transaction()
            step = "produce"
            for records in outgoing:
                writer.write(records, deadline)
            self._checkpoint("produced")
            step = "send_offsets"
            if offsets:
                producer.send_offsets_to_transaction(list(offsets), group, deadline.left)
            self._checkpoint("offsets_sent")
            step = "commit"
            self._checkpoint("committing")
            producer.commit_transaction(deadline.left)
        except KafkaException as error:
            self._writer = None
            writer.throw_away()
            del writer, producer  # what stays of this call is the error
            raise self._judged(error, step) from error

    def close(self) -> None:
        """Give the producer up; the next one with this id aborts what is open, or the brokers do in time."""
        if self._writer is not None:
            self._writer.throw_away()
            self._writer = None

    def _judged(self, error: KafkaException, step: str) -> ServiceError:
        reason = error.args[0]
        if isinstance(reason, KafkaError) and reason.fatal() and reason.code() not in _TAKEN:
            return Fenced(f"the transactional producer of {self.transactional_id!r} failed at {step}: {reason.str()}")
        if isinstance(reason, KafkaError) and reason.code() in _TAKEN:
            return Fenced(
                f"transactional id {self.transactional_id!r} was taken at {step}: another process uses this slot, or "
                f"this one was stopped longer than its transaction time-out ({reason.str()}). Give each worker its own "
                "slot."
            )
        what = f"transaction of {self.transactional_id!r} failed at {step}: {error}"
        return TransactionAborted(what, undecided=step == "commit")
