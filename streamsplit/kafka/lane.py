"""The lane: a thread that takes batches of requests, and the one place that commits them.

Generation fencing does not stop a live member from committing a partition that it has lost. So the lane has an
**epoch**, raised by every assign, revoke, lost and rewind. Each batch carries the epoch it was consumed in; one lock
covers the group's callbacks and the commit, and a batch of an older epoch is dropped there. Whatever was consumed and
not committed is read again from the committed offsets, which are always asked of the brokers: there is one way to
begin a partition (`assignment.py`), after an assignment as after an abort.

Three threads meet here: the lane's own, the committing one (`commit`, `restore`, `done`), and whoever asks for
`progress`. Only the lane's thread calls the consumer: the client makes callers from several threads wait for each
other, asleep, for up to a second (confluent-kafka 2.16). A rewind is requested by setting `_rewind` and then raising
`_epoch`, and carried out by the lane's thread; a reader of both looks at them in the opposite order.
"""

import logging
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress
from operator import not_

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamsplit.core.errors import ServiceError
from streamsplit.core.records import RawBatch
from streamsplit.kafka.assignment import Assignment
from streamsplit.kafka.batches import batch_of, next_of
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.deadline import Deadline
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.positions import Positions, Wait, next_offsets
from streamsplit.kafka.slots import Slots
from streamsplit.kafka.transaction import Checkpoint, Fenced, Outgoing, Transaction, TransactionAborted

logger = logging.getLogger(__name__)

DEPTH = 3
"""Batches under way: one being committed, one at the models, one waiting."""

_IDLE_SECONDS = 0.1
_BLOCKED_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the lane stands.

    Attributes:
        epoch: The present epoch; -1 while a rewind is due, so that nothing derived from this is committed.
        reading: Partition → the next offset to commit.
        lag: Partition → records behind the end; -1 when not known.
        waiting: Partition → why it is held back.
        lost: Partition → range that retention removed and that no commit has reported yet.
        problem: What the brokers complain of; None for nothing.
    """

    epoch: int
    reading: Mapping[int, int]
    lag: Mapping[int, int]
    waiting: Mapping[int, Wait]
    lost: Mapping[int, tuple[int, int]]
    problem: str | None


class Lane:
    """Reads one topic in batches, and commits each batch in one transaction.

    Args:
        connection: The brokers.
        options: How to read.
        transaction: The lane's transactional producer.
        positions: Makes what finds where a partition begins, given the consumer.
        deliver: Takes each batch; called in the lane's thread, must not block. Every delivered batch ends in `done`.
        failed: Called once with the reason when this process must end.
        checkpoint: Fault tests' hook.
    """

    def __init__(
        self,
        connection: Connection,
        options: LaneOptions,
        *,
        transaction: Transaction,
        positions: Callable[[Consumer], Positions],
        deliver: Callable[[RawBatch], None],
        failed: Callable[[ServiceError], None],
        checkpoint: Checkpoint = lambda _: None,
    ) -> None:
        self._options = options
        self._transaction = transaction
        self._deliver = deliver
        self._failed = failed
        self._checkpoint = checkpoint
        self._consumer = Consumer({**connection.client_config(), **options.consumer_config()})
        self._assignment = Assignment(self._consumer, options.topic, positions(self._consumer))
        self._lock = threading.Lock()
        self._slots = Slots(DEPTH)
        self._stopping = threading.Event()
        self._stop_seconds = 0.0
        self._epoch = 0
        self._group: object | None = None
        self._rewind = False
        self._problem: str | None = None
        self._unopened: str | None = None
        self._average_bytes = options.batch_bytes / 100
        self._consumed: list[Message] = []
        self._held_bytes = 0
        self._delivered: deque[tuple[int, dict[int, int]]] = deque()
        self._delivered_at = 0.0
        self._cpu = 0
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)

    # -- what others call ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Join the group and begin to deliver."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Deliver nothing more, wait for what is under way, leave.

        Args:
            seconds: Longest wait; batches still under way then are not committed, and the next owner serves them.
        """
        self._stop_seconds = seconds
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(seconds + 5.0)
        self._transaction.close()

    @property
    def cpu_micros(self) -> int:
        """CPU time that the lane's own thread has taken so far."""
        return self._cpu // 1000

    @property
    def epoch(self) -> int:
        """The present epoch; batches of an older one can no longer be committed."""
        return self._epoch

    def commit(self, epoch: int, outgoing: Sequence[Outgoing], through: Mapping[int, int], revision: int) -> bool:
        """Commit one batch, or drop it.

        Args:
            epoch: Of the batch.
            outgoing: All its records.
            through: Partition → the next offset after the batch; empty for a summary without records.
            revision: What the batch was served under.

        Returns:
            True when it is committed; False when it was dropped and its records will be delivered again.

        Raises:
            Fenced: This process must end.
        """
        with self._lock:
            if epoch != self._epoch or self._rewind:
                return False
            if not self._is_next(through):
                self._start_over("a batch is missing before the one to be committed", logging.ERROR)
                return False
            offsets = next_offsets(self._options.topic, through, revision)
            try:
                self._transaction.commit(outgoing, offsets, self._group)
            except TransactionAborted as error:
                self._start_over(f"{error}", logging.WARNING)
                return False
            if self._assignment.moves(through):
                self._delivered.popleft()
            self._assignment.committed(through)
        self._checkpoint("committed")
        return True

    def _is_next(self, through: Mapping[int, int]) -> bool:
        """Whether a batch is the oldest delivered one that is not committed; a summary alone moves nothing."""
        if not self._assignment.moves(through):
            return True
        while self._delivered and self._delivered[0][0] != self._epoch:
            self._delivered.popleft()
        return bool(self._delivered) and self._delivered[0][1] == through

    def restore(self) -> bool:
        """Make the transactional producer ready where it is not.

        Returns:
            Whether it is ready; the brokers may not answer, then ask again.

        Raises:
            Fenced: This process must end.
        """
        try:
            self._transaction.restore()
            self._unopened = None
        except TransactionAborted as error:
            self._unopened = str(error)
            logger.warning("%s", error)
        return self._transaction.open

    def abandon(self, reason: str) -> None:
        """Drop every batch under way and read again from the committed offsets."""
        with self._lock:
            self._start_over(reason, logging.WARNING)

    def done(self) -> None:
        """A delivered batch has been committed or dropped."""
        self._slots.free()

    def progress(self) -> Progress:
        """Where the lane stands now."""
        # The epoch first, and none while a rewind is due: what is read after it may be of an older one.
        epoch = self._epoch
        epoch = -1 if self._rewind else epoch
        reading = self._assignment.reading()
        return Progress(
            epoch=epoch,
            reading={number: each.committed for number, each in reading.items()},
            lag={number: each.lag for number, each in reading.items()},
            waiting=self._assignment.waiting(),
            lost={number: each.lost for number, each in reading.items() if each.lost is not None},
            problem=self._unopened or self._problem,
        )

    def _start_over(self, reason: str, level: int = logging.INFO) -> None:
        logger.log(level, "reading again from the committed offsets: %s", reason)
        self._rewind = True
        self._epoch += 1

    # -- the lane's thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                [self._options.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._stopping.is_set():
                self._turn()
                self._cpu = time.thread_time_ns()
            self._drain()
        except ServiceError as error:
            self._failed(error)
        except KafkaException as error:
            self._failed(ServiceError(f"the consumer of {self._options.topic} failed: {error}"))
        except BaseException as error:
            self._failed(ServiceError(f"the lane ended by an error that nobody expected: {error!r}"))
            raise
        finally:
            with self._lock:
                self._rewind = True
                self._epoch += 1
            self._consumer.close()

    def _turn(self) -> None:
        if self._rewind:
            self._begin_again()
        self._assignment.begin_waiting()
        self._assignment.read_ends()
        self._group = self._consumer.consumer_group_metadata()
        # A batch that is not full is held back while another is under way: delivered sooner it would wait for the
        # commits before it, and whatever comes meanwhile for its own as well.
        idle = self._slots.wait_idle(self._options.batch_seconds if self._consumed else 0.0)
        self._consume()
        if self._consumed and (idle or self._room() <= 0) and self._take_slot():
            epoch = self._epoch
            if self._rewind:
                self._slots.free()
                return
            batch = self._take(epoch)
            self._delivered.append((epoch, next_of(batch)))
            self._delivered_at = time.monotonic()
            self._deliver(batch)
            self._checkpoint("consumed")

    def _begin_again(self) -> None:
        with self._lock:
            self._rewind = False
            self._consumed.clear()
            self._held_bytes = 0
            self._assignment.start_over()

    def _take_slot(self) -> bool:
        """Wait until a batch may be delivered, polling all the while, so that the group's callbacks are served."""
        if self._slots.take(_BLOCKED_SECONDS):
            return True
        self._assignment.pause()
        taken = False
        while not (taken or self._rewind or self._stopping.is_set()):
            self._accept(self._consumer.consume(1, timeout=0))
            self._group = self._consumer.consumer_group_metadata()
            taken = self._slots.take(_IDLE_SECONDS)
        self._assignment.resume()
        return taken

    def _drain(self) -> None:
        """Let the batches under way be committed before the group is left."""
        deadline = Deadline(self._stop_seconds)
        self._assignment.pause()
        while not (self._slots.wait_idle(0.02) or deadline.passed):
            self._consumer.consume(1, timeout=0)
            self._group = self._consumer.consumer_group_metadata()

    def _consume(self) -> None:
        """Wait for the first record of a batch; take what else is there and fits."""
        epoch = self._epoch
        messages = [] if self._consumed else self._consumer.consume(1, timeout=_IDLE_SECONDS)
        begun = bool(self._consumed) or (bool(messages) and messages[0].error() is None)
        wanted = self._room() - len(messages)
        if begun and wanted > 0:
            messages += self._consumer.consume(wanted, timeout=self._patience())
        # A rebalance in between: its records come again, but an error, perhaps a fatal one, does not.
        self._accept(messages if epoch == self._epoch else [each for each in messages if each.error() is not None])

    def _patience(self) -> float:
        """Seconds to wait for more records: none after a pause, so that a lone request is answered at once."""
        since = time.monotonic() - self._delivered_at
        return 0.0 if self._consumed else max(0.0, self._options.batch_seconds - since)

    def _room(self) -> int:
        """Records that the batch may still take."""
        fitting = int((self._options.batch_bytes - self._held_bytes) / self._average_bytes)
        return min(self._options.batch_records - len(self._consumed), fitting)

    def _accept(self, messages: list[Message]) -> None:
        errors = list(map(Message.error, messages))
        records = list(compress(messages, map(not_, errors))) if any(errors) else messages
        accepted = self._assignment.accept(records)
        self._consumed += accepted
        self._held_bytes += sum(map(len, accepted))
        for message, error in compress(zip(messages, errors, strict=True), errors):
            assert error is not None
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 # librdkafka's own codes begin with _
                self._assignment.note_end(message)
                self._problem = None
            else:
                self._complain(message, error)

    def _complain(self, message: Message, error: KafkaError) -> None:
        if error.fatal():
            raise Fenced(
                f"the consumer of slot {self._options.slot!r} was fenced: {error.str()}. Another process uses this "
                "slot; give each worker its own."
            )
        if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:  # noqa: SLF001 # as above
            self.abandon(f"partition {message.partition()}: {error.str()}")
            return
        missing = error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}  # noqa: SLF001 # as above
        cure = f"topic {self._options.topic} is missing: run `streamsplit topics create`"
        self._problem = cure if missing else error.str()
        logger.warning("%s", self._problem)

    def _take(self, epoch: int) -> RawBatch:
        """The next batch: what fits into its bytes, at least one record."""
        ends = list(accumulate(map(len, self._consumed)))
        fitting = max(1, bisect_right(ends, self._options.batch_bytes))
        messages, self._consumed = self._consumed[:fitting], self._consumed[fitting:]
        self._held_bytes -= ends[fitting - 1]
        self._average_bytes = max(64.0, ends[fitting - 1] / fitting)
        self._problem = None
        return batch_of(epoch, messages)

    # -- the group's callbacks, in the lane's thread ------------------------------------------------------------------

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        with self._lock:
            if partitions:
                self._assignment.add([each.partition for each in partitions])
                self._start_over(f"assigned {[each.partition for each in partitions]}")

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """Waiting for the lock lets a commit under way end, within its own deadline; later batches are dropped."""
        with self._lock:
            self._assignment.remove([each.partition for each in partitions])
            self._start_over(f"revoked {[each.partition for each in partitions]}")

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        with self._lock:
            self._assignment.remove([each.partition for each in partitions])
            self._start_over(f"lost {[each.partition for each in partitions]}")
