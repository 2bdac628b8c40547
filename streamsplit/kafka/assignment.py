"""The partitions a lane has, and how each of them begins.

Every partition starts paused. It is read from the moment its committed offset is known and nothing holds it back; a
rewind makes all of them start over. Only the lane's thread changes an assignment; others may look at it.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from numpy.typing import NDArray

from streamsplit.kafka.batches import last_of
from streamsplit.kafka.positions import Begin, Positions, Wait
from streamsplit.kafka.record_queue import RecordQueue, Taken

logger = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS = 0.2
_ASKING_SECONDS = 1.0


@dataclass(slots=True)
class AssignedPartition:
    """One assigned partition.

    Attributes:
        wait: Why it is not read; None while it is.
        position: The next offset to consume.
        committed: The next offset to commit.
        revision: The newest that it was served under, up to `committed`; -1 where that is not known.
        ended_at: Where its end was last met, markers of transactions included; -1 for never.
        high: Its end by the last fetch; -1 for unknown.
        lost: Range that retention removed, until a commit has reported it.
        ask_at: When its beginning is to be asked for, by the monotonic clock.
    """

    wait: Wait | None
    position: int = -1
    committed: int = -1
    revision: int = -1
    ended_at: int = -1
    high: int = -1
    lost: tuple[int, int] | None = None
    ask_at: float = 0.0

    @property
    def lag(self) -> int:
        """Records behind the end; -1 when not known."""
        if self.high < 0:
            return -1
        caught_up = self.position == self.committed and self.ended_at >= self.high
        return 0 if caught_up else max(0, self.high - self.committed)


class Assignment:
    """The partitions of one topic that the group has given to this consumer.

    Args:
        consumer: The group's consumer.
        topic: The topic.
        positions: Finds where a partition begins.
        queue: Where the records of its partitions come.
    """

    def __init__(self, consumer: Consumer, topic: str, positions: Positions, queue: RecordQueue) -> None:
        self._consumer = consumer
        self._queue = queue
        self._topic = topic
        self._positions = positions
        self._partitions: dict[int, AssignedPartition] = {}

    def add(self, numbers: Sequence[int]) -> None:
        """Take partitions, paused, at a place that is never read.

        A real offset: that of the end would have to be looked up, and an answer that comes after the seek to the
        committed offset wins over it (librdkafka 2.16): all records between would be passed over.
        """
        self._assign([TopicPartition(self._topic, number, 0) for number in numbers])
        self._consumer.pause([TopicPartition(self._topic, number) for number in numbers])
        for number in numbers:
            self._partitions[number] = AssignedPartition(Wait("newly assigned"))

    def remove(self, numbers: Sequence[int]) -> None:
        """Give partitions up."""
        self._consumer.incremental_unassign([TopicPartition(self._topic, number) for number in numbers])
        for number in numbers:
            self._partitions.pop(number, None)

    def start_over(self) -> None:
        """Every partition waits until its committed offset has been asked for."""
        self._positions.forget()
        for each in self._partitions.values():
            each.wait, each.ask_at = Wait("asking for the committed offset"), 0.0
        self.pause()

    def begin_waiting(self) -> None:
        """Begin the partitions that can begin; a second at most, the longest unasked first.

        An undecided transaction makes an ask slow: it is asked again only after twice the time it took, so that the
        partitions that are read get most of the lane.
        """
        now = time.monotonic()
        for number, each in sorted(self._partitions.items(), key=lambda item: item[1].ask_at):
            if each.wait is None or now < each.ask_at:
                continue
            if time.monotonic() > now + _ASKING_SECONDS:
                return
            began = time.monotonic()
            found = self._positions.find(number)
            took = time.monotonic() - began
            each.ask_at = began + took + max(_ASK_AGAIN_SECONDS, 2 * took)
            wait = self._begin(number, each, found) if isinstance(found, Begin) else found
            if wait is not None and wait != each.wait:
                logger.log(logging.WARNING if wait.alarm else logging.INFO, "%s", wait.reason)
            each.wait = wait

    def _begin(self, number: int, partition: AssignedPartition, begin: Begin) -> Wait | None:
        target = TopicPartition(self._topic, number, begin.offset)
        try:
            self._move(target)
            self._consumer.resume([target])
        except KafkaException as error:
            return Wait(f"partition {number} is being started: {error.args[0].str()}")
        partition.revision = begin.revision  # before the offset: see `Lane.progress`
        partition.committed = partition.position = begin.offset
        partition.ended_at = -1  # met again after the seek; an end from before it would hide the lag
        partition.lost = begin.lost
        return None

    def _move(self, target: TopicPartition) -> None:
        """Read a partition from another place.

        A fetch may slip in between its assignment and its pause. Where retention has removed that place, the client
        stops the partition for good: it cannot be sought any more, and has to be assigned anew.
        """
        try:
            self._consumer.seek(target)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 # librdkafka's own codes begin with _
                raise
            self._consumer.incremental_unassign([target])
            self._assign([target])

    def _assign(self, targets: list[TopicPartition]) -> None:
        """Assign partitions whose records come to the queue.

        They are forwarded before, so that none comes to the group's; and after: the client ends a partition's
        forwarding where it stops fetching it, which it may do after an unassignment has returned, but not after the
        next assignment has (librdkafka 2.16).
        """
        numbers = [each.partition for each in targets]
        self._queue.follow(numbers)
        self._consumer.incremental_assign(targets)
        self._queue.follow(numbers)

    def pause(self) -> None:
        """Fetch nothing, stay in the group."""
        if self._partitions:
            self._consumer.pause([TopicPartition(self._topic, number) for number in self._partitions])

    def resume(self) -> None:
        """Fetch what does not wait."""
        if reading := [TopicPartition(self._topic, number) for number in self.reading()]:
            self._consumer.resume(reading)

    def accept(self, taken: Taken) -> NDArray[np.bool_]:
        """Note consumed records; bool (k,), which of them are to be read."""
        reading = self.reading()
        wanted = np.ones(len(taken.partitions), np.bool_)
        for number, last in last_of(taken.partitions, taken.offsets).items():
            if number in reading:
                reading[number].position = last + 1
            else:
                wanted &= taken.partitions != number
        return wanted

    def note_end(self, number: int, offset: int) -> None:
        """The end of a partition was met."""
        if number in self._partitions:
            self._partitions[number].ended_at = offset

    def read_ends(self) -> None:
        """Take the ends that the last fetches have told."""
        for number, each in self.reading().items():
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), cached=True)
            each.high = max(high, each.high) if high >= 0 else each.high

    def moves(self, through: Mapping[int, int]) -> bool:
        """Whether committing these next offsets would say more than that ranges are lost."""
        return any(offset != self._partitions[number].committed for number, offset in through.items())

    def committed(self, through: Mapping[int, int], revision: int) -> None:
        """A transaction has committed these next offsets, served under a revision."""
        for number, offset in through.items():
            partition = self._partitions[number]
            partition.revision = revision  # before the offset: see `Lane.progress`
            partition.committed, partition.lost = offset, None

    def reading(self) -> dict[int, AssignedPartition]:
        """The partitions that do not wait."""
        return {number: each for number, each in self._partitions.copy().items() if each.wait is None}

    def waiting(self) -> dict[int, Wait]:
        """Why each of the others waits."""
        return {number: each.wait for number, each in self._partitions.copy().items() if each.wait is not None}
