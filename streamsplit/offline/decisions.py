"""The judge's decisions, read back from their topic."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from streamsplit.core.decision import Decision
from streamsplit.core.errors import DataError
from streamsplit.kafka.clients import Connection
from streamsplit.offline.ranges import Extent, extents, place_of, read_range
from streamsplit.wire.decisions import DecisionReader
from streamsplit.wire.schemas import SchemaStore

_FIRST_BLOCK = 64
_LARGEST_BLOCK = 2_048
_GROWTH = 4


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record of the topic that is no decision.

    Attributes:
        offset: Its place.
        reason: Why, for a person.
    """

    offset: int
    reason: str


class DecisionLog:
    """The topic `decisions`: committed records alone, up to the first transaction that is still open.

    It is kept for ever, so that it is read from its end, in blocks that grow.

    Args:
        connection: The way to the broker.
        topic: Name of the topic.
        schemas: Writers' schemas.
    """

    def __init__(self, connection: Connection, topic: str, schemas: SchemaStore) -> None:
        self._connection = connection
        self._topic = topic
        self._reader = DecisionReader(schemas)
        self._unreadable: dict[int, Unreadable] = {}

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """What was met on the way that is no decision, by offset."""
        return tuple(self._unreadable[offset] for offset in sorted(self._unreadable))

    def newest_first(self) -> Iterator[Decision]:
        """Every decision, the latest first; read no further than they are taken.

        Raises:
            ServiceError: The topic is missing or cannot be read.
        """
        there = extents(self._connection, self._topic, decided=True)[0]
        end, size = there.end, _FIRST_BLOCK
        while end > there.start:
            start = max(there.start, end - size)
            yield from reversed(self._block(Extent(start, end)))
            end, size = start, min(size * _GROWTH, _LARGEST_BLOCK)

    def latest(self, count: int) -> tuple[Decision, ...]:
        """The latest so many decisions, the oldest of them first.

        Raises:
            ServiceError: The topic is missing or cannot be read.
        """
        return tuple(reversed(tuple(islice(self.newest_first(), count))))

    def _block(self, extent: Extent) -> list[Decision]:
        found = []
        for messages in read_range(self._connection, self._topic, {0: extent}):
            for message in messages:
                offset = place_of(message)[2]
                try:
                    found.append(self._reader.read(message.value() or b""))
                except DataError as error:
                    self._unreadable[offset] = Unreadable(offset, error.reason)
        return found
