"""Whom this worker has met in the present stay, and so which requests are the first of their unit.

Where a unit has many requests, only its first one in a stay is evidence (docs/design.md section 12). Each partition
that is read has a bitmap of units. No unit counts twice, whatever is dropped, aborted or taken over:

1. A bitmap holds what is committed. What a batch adds is a value that travels with it (`Met`), and is installed once
   its transaction has committed. While that is under way, the next batch takes its units for met, too; if it does not
   commit, the next one does not, either: the lane commits the batches of an epoch in their order.
2. A bitmap belongs to a place: the next offset after all that it knows. Where a batch begins elsewhere, a new one
   begins: somebody else has served meanwhile, or a transaction of which nobody knew has committed after all, or an
   operator has moved the offset. A batch of an epoch that is over is not looked at: it is never committed.
3. A new bitmap is complete where the partition was last served before the stay began. Else it is complete once the
   summaries have said whom others have met. They are asked after the lane has begun the partition at a decided offset,
   so that all that was committed before lies before the end that they are read to; what comes later is ours.
4. A unit counts only where the bitmap is complete and does not have it.

All of it belongs to the thread that serves; `report` and `problems` may be asked by any.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.counting import window_ms
from streamsplit.core.routing import RoutingTable, unexposed
from streamsplit.core.seen_units import PLACES, SeenUnits, packed, places_of
from streamsplit.core.status import UnitStatus
from streamsplit.core.summary import UnitMarks
from streamsplit.core.windows import windows_of
from streamsplit.kafka.batches import next_of
from streamsplit.kafka.lane import Progress
from streamsplit.service.served import Served

MOST_PLACES = 1 << 14
"""Most places in one mark, so that a summary can be parted."""

_NOBODY = np.zeros(0, np.int32)
_NO_ROWS = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Whom a partition's earlier owners have met is asked for; each asking is its own.

    Attributes:
        partition: Of the request topic.
        stay: Revision that began the stay.
    """

    partition: int
    stay: int


Answer = tuple[Asked, SeenUnits]
"""What was asked, and whom earlier owners have met."""


class Earlier(Protocol):
    """What the summaries say of earlier owners; answers come later."""

    def ask(self, asked: Asked) -> None:
        """Begin to find it out; the partition's earlier asking is forgotten."""

    def forget(self, partition: int) -> None:
        """Nobody waits for this partition any more."""

    def leave(self) -> None:
        """Nobody waits for anything any more: the stay is over."""

    def found(self) -> Sequence[Answer]:
        """Answers since the last call."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What an operator should know."""

    def close(self) -> None:
        """Find out nothing more."""


@dataclass(slots=True, eq=False)
class _Memory:
    """Of one partition.

    Attributes:
        upto: The next offset after all that it knows.
        asked: What is not answered yet; None: the memory is complete.
        told: What the last committed mark said of that; None before the first.
        seen: Who is met.
    """

    upto: int
    asked: Asked | None
    told: bool | None = None
    seen: SeenUnits = field(default_factory=SeenUnits)


@dataclass(frozen=True, slots=True, eq=False)
class _Addition:
    """What a batch adds to a memory.

    Attributes:
        places: int32, ascending: units met for the first time.
        upto: The next offset after the batch.
        complete: Whether the memory was.
    """

    places: NDArray[np.int32]
    upto: int
    complete: bool


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """What a batch says of units; a value, until its transaction has committed.

    Attributes:
        firsts: int64, ascending: the requests that are evidence; None: every request is.
        marks: What its summary says.
        additions: What is remembered then.
    """

    firsts: NDArray[np.int64] | None = None
    marks: tuple[UnitMarks, ...] = ()
    additions: Mapping[_Memory, _Addition] = field(default_factory=dict)


class UnitMemory:
    """The memories of all partitions that are read, while the rollout splits and its unit is not the request id.

    Args:
        earlier: Whom earlier owners have met.
    """

    def __init__(self, earlier: Earlier) -> None:
        self._earlier = earlier
        self._stay = -1
        self._memories: dict[int, _Memory] = {}
        self._pending: Mapping[_Memory, _Addition] = {}
        self._warming = (-1, 0)

    def attend(self, table: RoutingTable, standing: Progress) -> None:
        """Have a memory of each partition that is read, and take in what was found out; also between two batches.

        Args:
            table: What is served under.
            standing: Where the lane stands, behind what is being committed.
        """
        stay = table.stay if table.unit.sticky else -1
        if stay != self._stay:
            self._stay = stay
            self._memories.clear()
            self._earlier.leave()
        if stay < 0:
            return
        for number in self._memories.keys() - standing.reading.keys() - standing.waiting.keys():
            del self._memories[number]
            self._earlier.forget(number)
        for asked, seen in self._earlier.found():
            memory = self._memories.get(asked.partition)
            if memory is not None and memory.asked is asked:
                memory.seen.join(seen)
                memory.asked = None
        for number, offset in standing.reading.items():
            if number not in self._memories or self._upto(self._memories[number]) != offset:
                self._memories[number] = self._begin(number, offset, standing.revisions.get(number, -1))

    def meet(self, served: Served, table: RoutingTable, standing: Progress, now_ms: int) -> Met:
        """Find a batch's first requests.

        Args:
            served: The batch.
            table: What it was routed by.
            standing: Where the lane stands, behind what is being committed.
            now_ms: The worker's time, milliseconds since the epoch.
        """
        self.attend(table, standing)
        if self._stay < 0:
            return Met()
        batch = served.batch
        if batch.epoch != standing.epoch:
            return Met(_NO_ROWS)
        rows = self._open_to_meet(served, table, now_ms)
        units = served.routing.units
        places = places_of(self._stay, units if len(rows) == len(units) else units.at(rows))
        partitions = batch.partitions[served.requests.rows[rows]]
        firsts, marks, additions = [_NO_ROWS], list[UnitMarks](), dict[_Memory, _Addition]()
        for number, upto in next_of(batch).items():
            memory = self._memories.get(number)
            if memory is None:
                continue  # taken away since its epoch was asked for: the batch is never committed
            mine = np.flatnonzero(partitions == number)
            new = mine[memory.seen.unmet(places[mine], self._places_pending(memory))]
            complete = memory.asked is None
            if complete:
                firsts.append(rows[new])
            additions[memory] = _Addition(np.sort(places[new]), upto, complete)
            marks += self._marks(number, memory, additions[memory])
        return Met(np.sort(np.concatenate(firsts)), tuple(marks), additions)

    def commit(self, met: Met) -> None:
        """A batch is being committed now; the one before is settled."""
        self._pending = met.additions

    def settle(self, *, committed: bool) -> None:
        """What became of it; where nobody knows, `committed` is false: the offset it left will tell."""
        pending, self._pending = self._pending, {}
        if not committed:
            return
        for memory, addition in pending.items():
            memory.seen.add(addition.places)
            memory.upto, memory.told = addition.upto, addition.complete

    @property
    def problems(self) -> tuple[str, ...]:
        """What an operator should know; any thread may ask."""
        return self._earlier.problems if self._stay >= 0 else ()

    def close(self) -> None:
        """Learn nothing more."""
        self._earlier.close()

    def report(self) -> UnitStatus | None:
        """How it stands; None where no units are remembered."""
        memories, stay = list(self._memories.values()), self._stay
        if stay < 0:
            return None
        fullest = max((each.seen.met for each in memories), default=0) / PLACES
        return UnitStatus(stay, len(memories), sum(each.asked is None for each in memories), round(fullest, 4))

    def _begin(self, number: int, offset: int, revision: int) -> _Memory:
        self._earlier.forget(number)
        if 0 <= revision < self._stay:
            return _Memory(offset, None)
        asked = Asked(number, self._stay)
        self._earlier.ask(asked)
        return _Memory(offset, asked)

    def _upto(self, memory: _Memory) -> int:
        return self._pending[memory].upto if memory in self._pending else memory.upto

    def _places_pending(self, memory: _Memory) -> NDArray[np.int32]:
        return self._pending[memory].places if memory in self._pending else _NOBODY

    def _open_to_meet(self, served: Served, table: RoutingTable, now_ms: int) -> NDArray[np.int64]:
        """Requests of units that had met no candidate before this stay, behind the warm-up: int64, ascending indices.

        The judge leaves out the first window of a revision. So the windows up to that of the newest request of the
        first batch under a revision are left out here: most units would be met in them, and never count.
        """
        times, length = served.requests.times, window_ms(served.judge)
        if self._warming[0] != table.revision and len(times):
            # As the judge does: a request from beyond the time it is served at says nothing.
            latest = now_ms + round(1000 * served.judge.grace_seconds)
            known = times[times <= latest]
            newest = int(known.max()) if len(known) else latest
            self._warming = (table.revision, int(windows_of(length, np.array([newest]))[0]))
        found = unexposed(table, served.routing)
        if len(times) and times.min() < (self._warming[1] + 1) * length:
            found &= windows_of(length, times) > self._warming[1]
        return np.flatnonzero(found)

    def _marks(self, number: int, memory: _Memory, addition: _Addition) -> Iterator[UnitMarks]:
        """What the summary says of a partition: who is newly met; and whether units count, where that has changed."""
        pending = self._pending.get(memory)
        told = memory.told if pending is None else pending.complete
        met = memory.seen.met + (0 if pending is None else len(pending.places))
        places = addition.places
        if not len(places) and told == addition.complete:
            return
        for start in range(0, max(1, len(places)), MOST_PLACES):
            some = places[start : start + MOST_PLACES]
            met += len(some)
            yield UnitMarks(number, self._stay, addition.complete, met, packed(some))
