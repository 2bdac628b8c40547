"""Whom earlier owners of partitions have met in a stay, read back from the summaries in a thread of its own.

Summaries are read from the end that they have when it begins to read, undecided transactions included: their outcome
is waited for. It goes back, for all partitions at once, until a summary has served the partition under a revision
before the stay: the revisions that a partition is served under never go back, so nothing of the stay is before that.
"""

import logging
import threading
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streamsplit.core.errors import DataError, ServiceError
from streamsplit.core.seen_units import SeenUnits, unpacked
from streamsplit.core.summary import UnitMarks
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.deadline import Deadline
from streamsplit.kafka.reading_back import ends_of, read_stretch, stretches
from streamsplit.service.unit_memory import Answer, Asked
from streamsplit.wire.summaries import UnitsReader

logger = logging.getLogger(__name__)

_STRETCH_SECONDS = 60.0
"""More than the longest stretch takes; and longer than any transaction may stay open."""

_LONGEST_SECONDS = 30.0
_CLIENT = "streamsplit-earlier-units"
_QUEUED_KILOBYTES = 4096
"""What is fetched ahead is mostly read already."""


class EarlierUnits:
    """Answers what `UnitMemory` asks.

    Args:
        connection: The brokers.
        admin: A client that asks where the topic ends.
        topic: The topic of summaries.
        reader: Reads what they say of units.
    """

    def __init__(self, connection: Connection, admin: AdminClient, topic: str, reader: UnitsReader) -> None:
        self._connection = connection
        self._admin = admin
        self._topic = topic
        self._reader = reader
        self._changed = threading.Condition()
        self._wanted: dict[int, Asked] = {}
        self._found: list[Answer] = []
        self._failure: str | None = None
        self._notice: str | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # -- what others call ---------------------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> None:
        """Begin to find it out; the partition's earlier asking is forgotten."""
        with self._changed:
            self._wanted[asked.partition] = asked
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="earlier units", daemon=True)
                self._thread.start()
            self._changed.notify()

    def forget(self, partition: int) -> None:
        """Nobody waits for this partition any more."""
        if partition in self._wanted:
            with self._changed:
                self._wanted.pop(partition, None)

    def leave(self) -> None:
        """Nobody waits for anything any more: a stay is over."""
        with self._changed:
            self._wanted.clear()
            self._found.clear()
            self._notice = None

    def found(self) -> Sequence[Answer]:
        """Answers since the last call."""
        if not self._found:
            return ()
        with self._changed:
            found, self._found = self._found, []
            return found

    @property
    def problems(self) -> tuple[str, ...]:
        """What an operator should know; any thread may ask."""
        found = (self._failure if self._wanted else None, self._notice)
        return tuple(each for each in found if each is not None)

    def close(self) -> None:
        """End its thread."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    # -- its thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while asked := self._next():
            try:
                self._find(asked)
                failures, self._failure = 0, None
                continue
            except ServiceError as error:
                self._fail(str(error))
            except Exception as error:
                logger.exception("an error that nobody expected")
                self._fail(f"an error that nobody expected: {error!r}")
            self._stopping.wait(min(_LONGEST_SECONDS, 2.0**failures))
            failures += 1

    def _next(self) -> Mapping[int, Asked]:
        """What is wanted, as soon as something is; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._stopping.is_set())
            return {} if self._stopping.is_set() else dict(self._wanted)

    def _fail(self, reason: str) -> None:
        self._failure = (
            f"whom earlier owners of a partition have met is not known yet, and its units do not count: {reason}"
        )
        logger.warning("%s; asking again", self._failure)

    def _find(self, asked: Mapping[int, Asked]) -> None:
        """Answer all of it, each as soon as it is known.

        Raises:
            ServiceError: The summaries cannot be read now.
        """
        findings = _Findings(self._reader, asked)
        try:
            ends = ends_of(self._admin, self._topic)
            consumer = self._connection.reader(_CLIENT, queued_max_messages_kbytes=_QUEUED_KILOBYTES)
            try:
                for stretch in stretches(ends.start, ends.end):
                    for offset, message in read_stretch(consumer, self._topic, stretch, Deadline(_STRETCH_SECONDS)):
                        findings.take(offset, message.value())
                        if self._stopping.is_set():
                            return
                    self._answer(findings.complete())
                    if not self._waits_for(findings.open()):
                        break
            finally:
                consumer.close()
        except KafkaException as error:
            raise ServiceError(f"the topic {self._topic} cannot be read: {error.args[0].str()}") from error
        self._answer(findings.open())
        self._notice = findings.notice
        if self._notice is not None:
            logger.error("%s", self._notice)

    def _waits_for(self, answers: Sequence[Answer]) -> bool:
        """Whether any of them is still asked for."""
        return any(self._wanted.get(asked.partition) is asked for asked, _ in answers)

    def _answer(self, answers: Sequence[Answer]) -> None:
        with self._changed:
            for asked, seen in answers:
                if self._wanted.get(asked.partition) is asked:
                    del self._wanted[asked.partition]
                    self._found.append((asked, seen))


class _Findings:
    """What summaries say of those that are asked for, read in any order of stretches.

    Args:
        reader: Reads summaries.
        asked: Partition → what is asked.
    """

    def __init__(self, reader: UnitsReader, asked: Mapping[int, Asked]) -> None:
        self._reader = reader
        self._open = {number: (each, SeenUnits()) for number, each in asked.items()}
        self._served_before: set[int] = set()
        self._passed_over = 0
        self._reason = ""

    def take(self, offset: int, value: object) -> None:
        """Take a summary in; one that cannot be read is passed over."""
        try:
            read = self._reader.read(value if isinstance(value, bytes) else b"")
            for each in read.partitions:
                if each.start < each.end and each.partition in self._open:
                    asked, _ = self._open[each.partition]
                    self._served_before.update([each.partition] if read.revision < asked.stay else [])
            for marks in read.units:
                self._note(marks)
        except (DataError, ValueError) as error:
            self._passed_over += 1
            self._reason = f"offset {offset}: {error}"

    def _note(self, marks: UnitMarks) -> None:
        if marks.partition in self._open:
            asked, seen = self._open[marks.partition]
            if marks.stay == asked.stay:
                seen.add(unpacked(marks.places))

    def complete(self) -> Sequence[Answer]:
        """Those of which nothing more can come, once a stretch is read; each is told once."""
        found = [self._open.pop(number) for number in self._served_before]
        self._served_before.clear()
        return found

    def open(self) -> Sequence[Answer]:
        """The others, with what is known so far."""
        return tuple(self._open.values())

    @property
    def notice(self) -> str | None:
        """What an operator should know; None for nothing."""
        if not self._passed_over:
            return None
        return (
            f"{self._passed_over} summaries could not be read: units that only they have told of may count once more "
            f"({self._reason})"
        )
