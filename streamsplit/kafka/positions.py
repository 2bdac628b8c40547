"""Where a partition of `requests` is read from; `judge_positions.py` is the same of `summaries`.

The committed offset decides, and nothing else: after an assignment, a rewind or an unknown result it is asked for
again. A partition is held back, each for its own reason and without holding up others, while its last transaction is
undecided, while our fold has not reached the revision it was last served under, while `outputs`, `audit` or
`dead-letters` lack its partner, or while retention has removed records that nobody has served.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamsplit.core.errors import UsageError

logger = logging.getLogger(__name__)

_ASK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Begin:
    """The partition can be read.

    Attributes:
        offset: The next offset to consume.
        lost: Range that retention removed before it was read, `to` exclusive; None for none.
        revision: The newest that it was served under; -1 where that is not known.
    """

    offset: int
    lost: tuple[int, int] | None = None
    revision: int = -1


@dataclass(frozen=True, slots=True)
class Wait:
    """The partition cannot be read yet.

    Attributes:
        reason: Why, with the cure where a person has to act.
        alarm: True where it does not mend by itself.
    """

    reason: str
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """What a partition has to wait for beside Kafka itself.

    Attributes:
        folded_to: The next offset of `control` to fold: revisions below it are known.
        accepted_losses: Partition → offset up to which an operator accepted a lost range.
    """

    folded_to: int
    accepted_losses: Mapping[int, int]


def start_time(start: str) -> int | None:
    """Milliseconds since the epoch for a start given as a time; None for `latest` and `earliest`.

    Raises:
        UsageError: For anything else.
    """
    if start in {"latest", "earliest"}:
        return None
    try:
        moment = datetime.fromisoformat(start)
    except ValueError as error:
        raise UsageError(
            f"start: expected latest, earliest or a time such as 2026-01-31T12:00:00Z, found {start!r}"
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class Positions:
    """Finds where the partitions of one topic are read from.

    Args:
        consumer: The group's consumer.
        topic: The topic.
        partners: Topics that need a partition of the same number.
        start: `latest`, `earliest` or an ISO 8601 time; holds for a group without any offset.
        gate: What is known and accepted at this moment.
    """

    def __init__(
        self, consumer: Consumer, topic: str, partners: Iterable[str], start: str, gate: Callable[[], Gate]
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._partners = tuple(partners)
        self._start = start
        self._gate = gate
        self._partner_counts: dict[str, int] = {}

    def forget(self) -> None:
        """Ask for the partners again: a topic may have been created anew."""
        self._partner_counts.clear()

    def find(self, partition: int) -> Begin | Wait:
        """Where this partition begins, or why it has to wait. Blocks for a few requests to the brokers."""
        try:
            return self._partner_missing(partition) or self._from_committed(partition)
        except KafkaException as error:
            return Wait(f"partition {partition}: {error.args[0].str()}; asking again")

    def _partner_missing(self, partition: int) -> Wait | None:
        for topic in self._partners:
            if partition >= self._partner_counts.get(topic, 0):
                described = self._consumer.list_topics(topic, timeout=_ASK_SECONDS).topics[topic]
                self._partner_counts[topic] = len(described.partitions) if described.error is None else 0
            if partition >= (count := self._partner_counts[topic]):
                # `topics create` makes what is missing, and leaves what is there as it is.
                cure = "kafka-topics.sh --alter" if count else "streamsplit topics create"
                arguments = f" --topic {topic} --partitions {partition + 1}" if count else ""
                return Wait(
                    f"partition {partition} of {self._topic} has no partner in {topic} ({count} partitions): run "
                    f"`{cure}{arguments}`",
                    alarm=True,
                )
        return None

    def _from_committed(self, partition: int) -> Begin | Wait:
        (committed,) = self._consumer.committed([TopicPartition(self._topic, partition)], timeout=_ASK_SECONDS)
        if committed.offset < 0:
            return self._without_offset(partition)
        gate = self._gate()
        revision = _revision_of(committed.metadata)
        if revision >= gate.folded_to:
            return Wait(
                f"partition {partition} was served under revision {revision}, and control is folded up to "
                f"{gate.folded_to - 1} here"
            )
        return self._behind_retention(partition, committed.offset, gate, revision)

    def _behind_retention(self, partition: int, offset: int, gate: Gate, revision: int = -1) -> Begin | Wait:
        low, high = self._consumer.get_watermark_offsets(
            TopicPartition(self._topic, partition), timeout=_ASK_SECONDS, cached=False
        )
        if offset > high:
            return Wait(
                f"partition {partition}: the committed offset {offset} is beyond the end {high} of {self._topic}; was "
                "the topic created again? Reset the group's offsets with kafka-consumer-groups while no worker runs",
                alarm=True,
            )
        if offset >= low:
            return Begin(offset, revision=revision)
        # Retention may have gone on since an operator accepted: that part of the range is another alarm.
        if gate.accepted_losses.get(partition, -1) >= low:
            logger.warning("%s: %d..%d of partition %d are lost to retention", self._topic, offset, low - 1, partition)
            return Begin(low, lost=(offset, low), revision=revision)
        return Wait(
            f"partition {partition}: requests {offset} to {low - 1} were removed by retention before they were served; "
            f"to go on behind them: streamsplit accept-loss {partition} --to {low}",
            alarm=True,
        )

    def _without_offset(self, partition: int) -> Begin | Wait:
        """A new partition of a known group starts at 0; a new group starts where the setting says.

        One member decides for all partitions, once: the one that has partition 0. Two deciding at the same time would
        overwrite each other's `latest`.
        """
        topics = self._consumer.list_topics(self._topic, timeout=_ASK_SECONDS).topics
        everything = [TopicPartition(self._topic, number) for number in sorted(topics[self._topic].partitions)]
        known = self._consumer.committed(everything, timeout=_ASK_SECONDS)
        if any(position.partition == partition and position.offset >= 0 for position in known):
            return Wait(f"partition {partition} has been given a beginning just now; asking again")
        if any(position.offset >= 0 for position in known):
            return self._behind_retention(partition, 0, self._gate())
        if partition != 0:
            return Wait(f"partition {partition}: the worker with partition 0 decides where this group starts")
        starts = [TopicPartition(self._topic, each.partition, self._start_of(each)) for each in everything]
        self._consumer.commit(offsets=[_with_revision(each, -1) for each in starts], asynchronous=False)
        logger.info("new group: starting at %s: %s", self._start, {each.partition: each.offset for each in starts})
        return Begin(starts[0].offset)

    def _start_of(self, partition: TopicPartition) -> int:
        low, high = self._consumer.get_watermark_offsets(partition, timeout=_ASK_SECONDS, cached=False)
        moment = start_time(self._start)
        if moment is None:
            return int(high if self._start == "latest" else low)
        asked = TopicPartition(self._topic, partition.partition, moment)
        (found,) = self._consumer.offsets_for_times([asked], timeout=_ASK_SECONDS)
        return int(found.offset) if found.offset >= 0 else int(high)


def next_offsets(topic: str, through: Mapping[int, int], revision: int) -> list[TopicPartition]:
    """The offsets to commit, with the newest revision each partition was served under as metadata.

    Args:
        topic: The topic of requests.
        through: Partition → the next offset.
        revision: Of the batch.
    """
    return [_with_revision(TopicPartition(topic, *item), revision) for item in through.items()]


def _with_revision(position: TopicPartition, revision: int) -> TopicPartition:
    metadata = json.dumps({"revision": revision})
    return TopicPartition(position.topic, position.partition, position.offset, metadata)


def _revision_of(metadata: str | None) -> int:
    """The revision in an offset's metadata; -1 where an operator's reset left none."""
    try:
        return int(json.loads(metadata or "")["revision"])
    except (ValueError, KeyError, TypeError):
        return -1
