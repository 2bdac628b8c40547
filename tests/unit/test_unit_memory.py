"""Which requests are the first of their unit: at most once whatever happens, exactly once where nothing does."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.records import Predictions, RawBatch, RequestColumns, Routing
from streamsplit.core.rollout import Unit, UnitKind
from streamsplit.core.routing import RoutingTable
from streamsplit.core.seen_units import SeenUnits, places_of, unpacked
from streamsplit.core.status import UnitStatus
from streamsplit.core.summary import UnitMarks
from streamsplit.kafka.batches import next_of
from streamsplit.kafka.lane import Progress
from streamsplit.kafka.positions import Wait
from streamsplit.service.served import Served
from streamsplit.service.unit_memory import MOST_PLACES, Answer, Asked, Met, UnitMemory
from streamsplit.wire.provenance import Provenance

NOW = 1_700_000_000_000
WINDOW = 5_000
LATER = NOW + WINDOW
"""Behind the warm-up of a revision whose first batch has a request of `NOW`."""


def table_of(stay: int, revision: int | None = None, exposed: int = 0, kind: UnitKind = UnitKind.KEY) -> RoutingTable:
    """A state that splits half and half."""
    owners = np.repeat(np.array([1, 0], np.int8), 5000)[None]
    return RoutingTable(
        revision=stay if revision is None else revision,
        arms=("control", "canary"),
        prefix=b"r:",
        unit=Unit(kind),
        attributes=(),
        columns=(),
        owners=owners,
        stay=stay,
        exposed=np.array([exposed], np.int16),
    )


@dataclass(frozen=True)
class Request:
    """One request."""

    unit: bytes | None
    partition: int = 0
    bucket: int = 0
    time: int = LATER


def served(requests: Sequence[Request], starts: dict[int, int], epoch: int = 1) -> Served:
    """A batch of requests, each partition from an offset on."""
    count, at = len(requests), Counter(starts)
    offsets = []
    for each in requests:
        offsets.append(at[each.partition])
        at[each.partition] += 1
    partitions = np.array([each.partition for each in requests], np.int32)
    units = ByteStrings.of([each.unit for each in requests])
    buckets = np.array([each.bucket if each.unit is not None else -1 for each in requests], np.int16)
    batch = RawBatch(
        epoch,
        ByteStrings.repeated(b"", count),
        units,
        ByteStrings.repeated(None, count),
        partitions,
        np.array(offsets, np.int64),
        np.zeros(count, np.int64),
    )
    everyone = np.zeros(count, np.int8)
    times = np.array([each.time for each in requests], np.int64)
    return Served(
        batch,
        RequestColumns(np.arange(count), ByteStrings.repeated(b"id", count), times, {}, {}),
        [],
        Routing(units, buckets, np.full(count, -1, np.int16), everyone),
        Predictions(everyone, everyone, np.zeros(count, np.int64), {}, {}),
        Provenance("r", 1, ("control", "canary"), ("a@1", "b@1"), ()),
        JudgeSettings(),
    )


class Told:
    """Earlier owners, answered for by the test."""

    problems: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.wanted: dict[int, Asked] = {}
        self.answers: list[Answer] = []

    def ask(self, asked: Asked) -> None:
        self.wanted[asked.partition] = asked

    def forget(self, partition: int) -> None:
        self.wanted.pop(partition, None)

    def leave(self) -> None:
        self.wanted.clear()
        self.answers.clear()

    def answer(self, asked: Asked, *marks: UnitMarks) -> None:
        """What the log says, as it was read."""
        seen = SeenUnits()
        for each in marks:
            if (each.partition, each.stay) == (asked.partition, asked.stay):
                seen.add(unpacked(each.places))
        self.answers.append((asked, seen))

    def found(self) -> Sequence[Answer]:
        found, self.answers = self.answers, []
        return found

    def close(self) -> None:
        """Nothing to end."""


def standing(reading: dict[int, int], revision: int = 0, epoch: int = 1) -> Progress:
    """A lane at these offsets, served under a revision up to there."""
    return Progress(epoch, reading, {}, {}, {}, None, dict.fromkeys(reading, revision))


class Alone:
    """One worker with partition 0, whose transactions all commit unless told."""

    def __init__(self, revision: int = 0) -> None:
        self.told = Told()
        self.memory = UnitMemory(self.told)
        self.at = 0
        self.revision = revision

    def take(self, requests: Sequence[Request], table: RoutingTable, *, committed: bool = True) -> Met:
        """Serve a batch, commit it."""
        met = self.memory.meet(served(requests, {0: self.at}), table, standing({0: self.at}, self.revision), LATER)
        self.memory.commit(met)
        self.memory.settle(committed=committed)
        if committed:
            self.at, self.revision = self.at + len(requests), table.revision
        return met


def firsts(met: Met) -> list[int]:
    assert met.firsts is not None
    return list(met.firsts)


WARM_UP = [Request(b"warm", time=NOW)]
UNITS = [Request(b"a"), Request(b"b"), Request(b"a"), Request(None), Request(b"c")]


@pytest.mark.parametrize("table", [table_of(7, kind=UnitKind.ID), table_of(-1, 9)])
def test_where_the_unit_is_the_id_or_nothing_is_split_every_request_counts_and_nothing_is_remembered(
    table: RoutingTable,
) -> None:
    alone = Alone()
    assert alone.take(UNITS, table) == Met() or alone.memory.report() is None
    assert alone.take(UNITS, table).firsts is None
    assert alone.told.wanted == {}


def test_a_unit_counts_once_and_a_request_without_a_unit_never() -> None:
    alone, table = Alone(), table_of(7)
    alone.take(WARM_UP, table)
    first, again = alone.take(UNITS, table), alone.take([*UNITS, Request(b"d")], table)
    assert (firsts(first), firsts(again)) == ([0, 1, 4], [5])
    assert [(each.counted, each.met) for each in (*first.marks, *again.marks)] == [(True, 3), (True, 4)]
    assert set(unpacked(first.marks[0].places).tolist()) == set(places_of(7, [b"a", b"b", b"c"]).tolist())
    assert alone.memory.report() == UnitStatus(7, 1, 1, 0.0)


def test_requests_of_the_first_window_of_a_revision_are_neither_met_nor_counted() -> None:
    alone = Alone()
    early, late = Request(b"a", time=NOW), Request(b"b", time=LATER)
    assert firsts(alone.take([late, early, Request(b"f", time=NOW + 10**9)], table_of(7))) == [2]
    assert firsts(alone.take([early, Request(b"b", time=LATER + WINDOW)], table_of(7))) == [1]
    # Another revision of the same stay: a pause. Who was met stays met.
    paused = table_of(7, revision=9)
    assert firsts(alone.take([Request(b"c", time=LATER)], paused)) == []
    assert firsts(alone.take([Request(b"b", time=LATER + WINDOW), Request(b"c", time=LATER + WINDOW)], paused)) == [1]


def test_a_batch_all_of_whose_times_lie_ahead_warms_up_at_the_time_it_is_served_at() -> None:
    alone, table = Alone(), table_of(7)
    assert firsts(alone.take([Request(b"a", time=2**62)], table)) == [0]
    assert firsts(alone.take([Request(b"b", time=LATER)], table)) == []
    assert firsts(alone.take([Request(b"b", time=LATER + 2 * WINDOW)], table)) == [0]


def test_whoever_has_met_a_candidate_before_the_stay_is_neither_met_nor_counted() -> None:
    alone, table = Alone(), table_of(7, exposed=2500)
    alone.take(WARM_UP, table)
    met = alone.take([Request(b"a", bucket=2499), Request(b"b", bucket=2500), Request(b"c", bucket=9999)], table)
    assert firsts(met) == [1, 2]
    assert met.marks[0].met == 2


def test_a_stay_begins_anew_without_asking_where_the_partition_was_served_before_it() -> None:
    alone = Alone()
    for stay in (7, 8):
        alone.take(WARM_UP, table_of(stay))
        assert firsts(alone.take(UNITS, table_of(stay))) == [0, 1, 4]
    assert alone.told.wanted == {}
    alone.take(WARM_UP, table_of(8, kind=UnitKind.ID))
    assert alone.memory.report() is None


def test_what_is_dropped_counts_when_it_comes_again() -> None:
    alone, table = Alone(), table_of(7)
    alone.take(WARM_UP, table)
    assert firsts(alone.take(UNITS, table, committed=False)) == [0, 1, 4]
    again = alone.take(UNITS, table)
    assert firsts(again) == [0, 1, 4]
    assert again.marks[0].met == 3


def test_the_batch_that_is_being_committed_is_met_for_the_next() -> None:
    alone, table = Alone(), table_of(7)
    alone.take(WARM_UP, table)
    memory, requests = alone.memory, [*UNITS, Request(b"d")]
    before = memory.meet(served(UNITS, {0: 1}), table, standing({0: 1}, 7), LATER)
    memory.commit(before)
    next_one = memory.meet(served(requests, {0: 6}), table, standing({0: 6}, 7), LATER)
    assert firsts(next_one) == [5]
    assert [(each.counted, each.met) for each in next_one.marks] == [(True, 4)]
    assert alone.told.wanted == {}
    # The one before is dropped, so this one is, too: both come again.
    memory.settle(committed=False)
    memory.commit(next_one)
    memory.settle(committed=False)
    assert firsts(memory.meet(served(requests, {0: 1}, 2), table, standing({0: 1}, 7, 2), LATER)) == [0, 1, 4, 5]


def test_where_nobody_knows_whether_it_was_committed_the_offset_tells() -> None:
    for was_committed in (False, True):
        alone, table = Alone(), table_of(7)
        alone.take(WARM_UP, table)
        marks = alone.take(UNITS, table, committed=False).marks
        alone.at += len(UNITS) * was_committed
        assert firsts(alone.take([*UNITS, Request(b"d")], table)) == ([] if was_committed else [0, 1, 4, 5])
        assert set(alone.told.wanted) == ({0} if was_committed else set())
        if was_committed:
            alone.told.answer(alone.told.wanted[0], *marks)
            assert firsts(alone.take([*UNITS, Request(b"d"), Request(b"e")], table)) == [6]


def test_a_new_owner_counts_from_when_it_knows_whom_others_have_met() -> None:
    one, two, table = Alone(), Alone(revision=7), table_of(7)
    one.take(WARM_UP, table)
    marks = one.take(UNITS, table).marks
    two.take(WARM_UP, table)
    uncounted = two.take([Request(b"a"), Request(b"x")], table)
    assert firsts(uncounted) == []
    assert [(each.counted, each.met) for each in uncounted.marks] == [(False, 2)]
    assert two.memory.report() == UnitStatus(7, 1, 0, 0.0)
    two.told.answer(two.told.wanted[0], *marks)
    counted = two.take([Request(b"b"), Request(b"x"), Request(b"y")], table)
    assert firsts(counted) == [2]
    assert [(each.counted, each.met) for each in counted.marks] == [(True, 5)]
    assert two.memory.report() == UnitStatus(7, 1, 1, 0.0)


def test_an_answer_for_a_memory_that_is_gone_is_no_answer() -> None:
    two, table = Alone(revision=7), table_of(7)
    two.take(WARM_UP, table)
    asked = two.told.wanted[0]
    two.at += 5  # somebody else has served
    two.take(WARM_UP, table)
    two.told.answer(asked)
    assert firsts(two.take(UNITS, table)) == []
    assert two.told.wanted[0] is not asked


def test_a_partition_that_was_taken_away_is_forgotten_and_one_that_waits_is_not() -> None:
    alone, table = Alone(), table_of(7)
    alone.take(WARM_UP, table)
    alone.take(UNITS, table)
    waits = replace(standing({}), waiting={0: Wait("asking for the committed offset")})
    alone.memory.attend(table, waits)
    assert firsts(alone.take(UNITS, table)) == []
    alone.memory.attend(table, standing({}))
    assert firsts(alone.take(UNITS, table)) == []
    assert list(alone.told.wanted) == [0]


def test_a_batch_of_an_epoch_that_is_over_leaves_no_trace() -> None:
    alone, table = Alone(), table_of(7)
    alone.take(WARM_UP, table)
    met = alone.memory.meet(served(UNITS, {0: 1}), table, standing({0: 1}, 7, epoch=2), LATER)
    assert (firsts(met), met.marks, dict(met.additions)) == ([], (), {})
    lost = alone.memory.meet(served(UNITS, {0: 1}), table, standing({}, 7), LATER)
    assert (firsts(lost), lost.marks) == ([], ())


def test_very_many_units_are_told_in_several_marks() -> None:
    alone, table = Alone(), table_of(7)
    alone.take(WARM_UP, table)
    count = 2 * MOST_PLACES + 3_000
    met = alone.take([Request(b"%d" % number) for number in range(count)], table)
    places = np.concatenate([unpacked(each.places) for each in met.marks])
    assert len(met.marks) == 3
    assert met.marks[-1].met == len(places) == len(np.unique(places)) == len(firsts(met))
    assert len(places) > 0.95 * count


# -- any order of events ----------------------------------------------------------------------------------------------

NAMES = [b"u%d" % number for number in range(6)]
PARTITIONS = 2
REQUESTS = [Request(unit, at) for unit in NAMES for at in range(PARTITIONS)]
UnderWay = tuple[Served, Met, int]
"""A batch, what it says of units, its stay."""


@dataclass
class Owner:
    """A worker: the batch that is being committed, and the one that waits for it."""

    memory: UnitMemory
    told: Told
    epoch: int = 0
    pending: UnderWay | None = None
    sealed: UnderWay | None = None

    @classmethod
    def new(cls, epoch: int = 0) -> "Owner":
        told = Told()
        return cls(UnitMemory(told), told, epoch)


class Fleet:
    """Two workers, their partitions, one log of summaries.

    The lane is the model here: it commits the batches of an epoch in their order, or none from one on.

    Attributes:
        counted: Stay, partition and place → how often it was counted, of all that were met.
        disturbed: Whether a partition had another owner, or nobody knew of a transaction that it had committed.
    """

    def __init__(self) -> None:
        self.workers = [Owner.new(), Owner.new()]
        self.owner = list(range(PARTITIONS))
        self.committed = [0] * PARTITIONS
        self.revision = [0] * PARTITIONS
        self.stay = 3
        self.log: list[UnitMarks] = []
        self.counted: Counter[tuple[int, int, int]] = Counter()
        self.disturbed = False
        self.read_to: list[tuple[Told, Asked, int]] = []

    def serve(self, number: int, chosen: int) -> None:
        """A worker seals a batch of what it owns, units chosen by bits, while the one before is being committed."""
        worker = self.workers[number]
        if worker.sealed is not None:
            self.succeed(number)
        requests = [
            each for bit, each in enumerate(REQUESTS) if chosen >> bit & 1 and self.owner[each.partition] == number
        ]
        if not requests:
            return
        standing = self._standing(number)
        batch = served(requests, dict(standing.reading), worker.epoch)
        worker.memory._warming = (self.stay, 0)  # the warm-up is another test's
        worker.sealed = (batch, worker.memory.meet(batch, table_of(self.stay), standing, LATER), self.stay)
        self._hand_over(worker)

    def succeed(self, number: int) -> None:
        """A transaction commits."""
        self._end(number, happened=True, known=True)

    def fail(self, number: int) -> None:
        """A transaction does not commit: everything from it on comes again."""
        self._end(number, happened=False, known=True)
        self._rewind(number)

    def doubt(self, number: int) -> None:
        """It does, and nobody knows."""
        self.disturbed |= self.workers[number].pending is not None
        self._end(number, happened=True, known=False)
        self._rewind(number)

    def move(self, at: int) -> None:
        """A partition changes its owner: whatever both have under way is dropped."""
        self.disturbed = True
        for number in range(2):
            self._rewind(number)
        self.owner[at] = 1 - self.owner[at]

    def die(self, number: int) -> None:
        """A worker is killed and another takes its place."""
        self.disturbed = True
        self._rewind(number)
        self.workers[number] = Owner.new(self.workers[number].epoch)

    def attend(self, number: int) -> None:
        """Between two batches, once what was under way is settled."""
        worker = self.workers[number]
        if worker.pending is None:
            worker.memory.attend(table_of(self.stay), self._standing(number))

    def read(self, number: int) -> None:
        """The log is read, up to its present end, for all that is asked."""
        told = self.workers[number].told
        self.read_to += [(told, asked, len(self.log)) for asked in told.wanted.values()]

    def answer(self, _: int) -> None:
        """What was read arrives."""
        for told, asked, end in self.read_to:
            told.answer(asked, *self.log[:end])
        self.read_to.clear()

    def step(self, _: int) -> None:
        """The weights change; batches under way are committed under the old stay."""
        self.stay += 1

    def _standing(self, number: int) -> Progress:
        """Where a worker's lane stands, behind what is being committed."""
        worker = self.workers[number]
        reading = {at: self.committed[at] for at in range(PARTITIONS) if self.owner[at] == number}
        revisions = {at: self.revision[at] for at in reading}
        if worker.pending is not None:
            through = next_of(worker.pending[0].batch)
            reading |= through
            revisions |= dict.fromkeys(through, worker.pending[2])
        return Progress(worker.epoch, reading, {}, {}, {}, None, revisions)

    def _hand_over(self, worker: Owner) -> None:
        if worker.pending is None and worker.sealed is not None:
            worker.pending, worker.sealed = worker.sealed, None
            worker.memory.commit(worker.pending[1])

    def _end(self, number: int, *, happened: bool, known: bool) -> None:
        worker = self.workers[number]
        if worker.pending is None:
            return
        if happened:
            self._write(*worker.pending)
        worker.pending = None
        worker.memory.settle(committed=happened and known)
        if known:
            self._hand_over(worker)

    def _write(self, batch: Served, met: Met, stay: int) -> None:
        for at, offset in next_of(batch.batch).items():
            self.committed[at], self.revision[at] = offset, stay
        self.log += met.marks
        chosen = set(firsts(met))
        places = places_of(stay, batch.routing.units).tolist()
        for row, (place, at) in enumerate(zip(places, batch.batch.partitions.tolist(), strict=True)):
            self.counted[stay, at, place] += row in chosen

    def _rewind(self, number: int) -> None:
        worker = self.workers[number]
        worker.epoch += 1
        worker.sealed = None
        if worker.pending is not None:
            worker.pending = None
            worker.memory.settle(committed=False)


SERVED = st.tuples(st.just("serve"), st.integers(0, 1), st.integers(1, 2 ** len(REQUESTS) - 1))
QUIET = st.tuples(
    st.sampled_from(["succeed", "succeed", "fail", "attend", "read", "answer", "step"]), st.integers(0, 1)
)
ROUGH = st.tuples(st.sampled_from(["doubt", "move", "die", "read", "answer", "attend"]), st.integers(0, 1))


def played(events: Sequence[tuple[Any, ...]]) -> Fleet:
    fleet = Fleet()
    for word, *arguments in events:
        getattr(fleet, word)(*arguments)
    for number in range(2):
        fleet.succeed(number)
        fleet.succeed(number)
    return fleet


@settings(max_examples=300)
@given(st.lists(st.one_of(SERVED, SERVED, QUIET, ROUGH), min_size=15, max_size=50))
def test_each_unit_of_a_stay_counts_at_most_once_whatever_happens(events: list[tuple[Any, ...]]) -> None:
    assert max(played(events).counted.values(), default=0) <= 1


@settings(max_examples=200)
@given(st.lists(st.one_of(SERVED, SERVED, QUIET), min_size=15, max_size=50))
def test_each_unit_of_a_stay_counts_once_where_batches_are_dropped_and_no_owner_changes(
    events: list[tuple[Any, ...]],
) -> None:
    fleet = played(events)
    assert not fleet.disturbed
    assert set(fleet.counted.values()) <= {1}
    assert bool(fleet.counted) == (fleet.committed != Fleet().committed)


def test_each_unit_that_is_first_met_when_others_are_known_counts_after_any_change_of_owner() -> None:
    fleet = Fleet()
    for number in range(len(NAMES)):
        for worker in range(2):
            fleet.attend(worker)
            fleet.read(worker)
            fleet.answer(worker)
            fleet.serve(worker, (2**PARTITIONS - 1) << PARTITIONS * number)
            fleet.succeed(worker)
        fleet.move(number % PARTITIONS)
    assert len(fleet.counted) == PARTITIONS * len(NAMES)
    assert set(fleet.counted.values()) == {1}
