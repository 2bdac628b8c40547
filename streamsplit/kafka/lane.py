"""The lane: a thread that takes batches of a topic, requests or summaries, and the one place that commits them.

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
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamsplit.core.errors import ServiceError
from streamsplit.core.records import RawBatch
from streamsplit.kafka.assignment import Assignment
from streamsplit.kafka.batches import next_of
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.deadline import Deadline
from streamsplit.kafka.lane_options import LaneOptions
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.kafka.positions import Positions, Wait, next_offsets
from streamsplit.kafka.record_queue import Failure, RecordQueue, with_handle
from streamsplit.kafka.slots import Slots
from streamsplit.kafka.transaction import Checkpoint, Fenced, Transaction, TransactionAborted

logger = logging.getLogger(__name__)

DEPTH = 3
"""Batches under way: one being committed, one at the models, one waiting."""

_IDLE_SECONDS = 0.05
_BLOCKED_SECONDS = 0.5
_EVENTS = 100
"""Most that the group says in a turn."""


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
        revisions: Partition → no less than the newest revision that it was served under before `reading`; -1 where that
            is not known.
    """

    epoch: int
    reading: Mapping[int, int]
    lag: Mapping[int, int]
    waiting: Mapping[int, Wait]
    lost: Mapping[int, tuple[int, int]]
    problem: str | None
    revisions: Mapping[int, int] = field(default_factory=dict)


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
        settings = {**connection.client_config(), **options.consumer_config()}
        self._consumer, handle = with_handle(Consumer, settings)
        self._queue = RecordQueue(handle, options.topic, options.batch_records)
        self._assignment = Assignment(self._consumer, options.topic, positions(self._consumer), self._queue)
        self._lock = threading.Lock()
        self._slots = Slots(DEPTH)
        self._stopping = threading.Event()
        self._stop_seconds = 0.0
        self._epoch = 0
        self._group: object | None = None
        self._rewind = False
        self._undecided = False
        self._problem: str | None = None
        self._unopened: str | None = None
        self._average_bytes = options.batch_bytes / 100
        self._delivered: deque[tuple[int, dict[int, int]]] = deque()
        self._delivered_at = 0.0
        self._cpu = 0
        self._thread = threading.Thread(target=self._run, name=f"lane {options.topic}", daemon=True)

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

    @property
    def undecided(self) -> bool:
        """Whether nobody knows what became of the last transaction."""
        return self._undecided

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
                self._undecided = error.undecided
                self._start_over(f"{error}", logging.WARNING)
                return False
            self._undecided = False
            if self._assignment.moves(through):
                self._delivered.popleft()
            self._assignment.committed(through, revision)
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
        # Those that wait first: one that begins in between is in both, and none that is assigned is missing.
        waiting = self._assignment.waiting()
        reading = self._assignment.reading()
        return Progress(
            epoch=epoch,
            # Offsets before revisions, which are written in the opposite order: none is older than its offset.
            reading={number: each.committed for number, each in reading.items()},
            revisions={number: each.revision for number, each in reading.items()},
            lag={number: each.lag for number, each in reading.items()},
            waiting=waiting,
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
            self._queue.close()
            self._consumer.close()

    def _turn(self) -> None:
        if self._rewind:
            self._begin_again()
        self._assignment.begin_waiting()
        self._assignment.read_ends()
        self._group = self._consumer.consumer_group_metadata()
        # A batch that is not full is held back while another is under way: delivered sooner it would wait for the
        # commits before it, and whatever comes meanwhile for its own as well.
        idle = self._slots.wait_idle(self._options.batch_seconds if self._queue else 0.0)
        self._serve_group()
        self._consume()
        if self._queue and (idle or self._room() <= 0) and self._take_slot():
            epoch = self._epoch
            if self._rewind:
                self._slots.free()
                return
            batch = self._batch(epoch)
            self._delivered.append((epoch, next_of(batch)))
            self._delivered_at = time.monotonic()
            self._deliver(batch)
            self._checkpoint("consumed")

    def _begin_again(self) -> None:
        with self._lock:
            self._rewind = False
            self._queue.clear()
            self._assignment.start_over()

    def _take_slot(self) -> bool:
        """Wait until a batch may be delivered, polling all the while, so that the group's callbacks are served."""
        if self._slots.take(_BLOCKED_SECONDS):
            return True
        self._assignment.pause()
        taken = False
        while not (taken or self._rewind or self._stopping.is_set()):
            self._serve_group()
            self._group = self._consumer.consumer_group_metadata()
            taken = self._slots.take(_IDLE_SECONDS)
        self._assignment.resume()
        return taken

    def _drain(self) -> None:
        """Let the batches under way be committed before the group is left."""
        deadline = Deadline(self._stop_seconds)
        self._assignment.pause()
        while not (self._slots.wait_idle(0.02) or deadline.passed):
            self._serve_group()
            self._group = self._consumer.consumer_group_metadata()

    def _serve_group(self) -> None:
        """The group's callbacks, and errors that are about no partition; records come by the queue alone."""
        for event in self._consumer.consume(_EVENTS, timeout=0):
            error = event.error()
            if error is None:
                self.abandon(f"a record of partition {event.partition()} came by another way than the others")
            else:
                self._hear(Failure(-1, -1, error))

    def _consume(self) -> None:
        """Wait for the first record of a batch; take what else is there and fits."""
        carried = bool(self._queue)
        if carried or self._take(1, _IDLE_SECONDS):
            self._take(self._room(), 0.0 if carried else self._patience())

    def _take(self, most: int, seconds: float) -> bool:
        """Take up to so many records; whether there is a batch to be filled."""
        if most > 0:
            taken = self._queue.take(most, seconds)
            self._queue.keep(self._assignment.accept(taken))
            for failure in taken.failures:
                self._hear(failure)
        return bool(self._queue)

    def _patience(self) -> float:
        """Seconds to wait for more records: none after a pause, so that a lone request is answered at once."""
        since = time.monotonic() - self._delivered_at
        return max(0.0, self._options.batch_seconds - since)

    def _room(self) -> int:
        """Records that the batch may still take."""
        fitting = int((self._options.batch_bytes - self._queue.held_bytes) / self._average_bytes)
        return min(self._options.batch_records - len(self._queue), fitting)

    def _hear(self, failure: Failure) -> None:
        if failure.error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 # librdkafka's own codes begin with _
            self._assignment.note_end(failure.partition, failure.offset)
            self._problem = None
        else:
            self._complain(failure)

    def _complain(self, failure: Failure) -> None:
        error = failure.error
        # A consumer that has failed for good says so by a code of its own.
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 # as above
            raise Fenced(
                f"the consumer of slot {self._options.slot!r} was fenced: {error.str()}. Another process uses this "
                "slot; give each worker its own."
            )
        if error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:  # noqa: SLF001 # as above
            self.abandon(f"partition {failure.partition}: {error.str()}")
            return
        missing = error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}  # noqa: SLF001 # as above
        cure = f"topic {self._options.topic} is missing: run `streamsplit topics create`"
        self._problem = cure if missing else error.str()
        logger.warning("%s", self._problem)

    def _batch(self, epoch: int) -> RawBatch:
        """The next batch: what fits into its bytes, at least one record."""
        fitting = self._queue.fitting(self._options.batch_bytes)
        batch = self._queue.batch(epoch, fitting)
        self._average_bytes = max(64.0, float(batch.values.sizes.sum()) / fitting)
        self._problem = None
        return batch

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
