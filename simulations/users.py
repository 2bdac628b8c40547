"""A deployment whose users each have many requests: some very many, some that fail again and again.

Requests are drawn one by one, and counted as a worker does: who has met a candidate before, whom a bitmap knows, what a
warm-up leaves out. `broken` puts in what a careless worker would do instead.
"""

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulations.world import World
from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.counting import count_batch, window_ms
from streamsplit.core.records import CONTROL, NOBODY, Outcome, Predictions, Routing
from streamsplit.core.rollout import State
from streamsplit.core.routing import DEFAULT_RULE, RoutingTable, assign, bucket_of, unexposed
from streamsplit.core.scores import judged_score
from streamsplit.core.seen_units import SeenUnits, packed, places_of
from streamsplit.core.summary import PartitionProgress, RunCounts, Summary, UnitMarks
from streamsplit.core.windows import windows_of

PARTITIONS = 2
"""Of the request topic; a user lives in one."""

_SPREAD = 1.5
"""Standard deviation of the logarithm of how much a user asks: one in a hundred has a fifth of all requests."""

_UNLIKE = 0.25
"""Shape of the gamma distribution of how often users fail, about the base rate: most seldom, few often."""


class Broken(enum.Enum):
    """What a careless worker would count."""

    NOTHING = enum.auto()
    """First requests, of units that had met no candidate before the stay: as it should be."""
    EXPOSED = enum.auto()
    """First requests in a stay of all units, also of those that had met a candidate before."""
    REQUESTS = enum.auto()
    """All requests of units that had met no candidate before."""


@dataclass(frozen=True, slots=True)
class Users:
    """Who asks.

    Attributes:
        names: Their units; u of them.
        asks: float64 (u,), ascending to 1: share of all requests up to each user's.
        fails: float64 (u,), how often a user's requests fail with control.
        luck: float64 (u,): of a faithful user's requests all fail, or none, as this is below how often they fail.
        faithful: bool (u,).
        rules: int16 (u,), what matches each.
    """

    names: list[bytes]
    asks: NDArray[np.float64]
    fails: NDArray[np.float64]
    luck: NDArray[np.float64]
    faithful: NDArray[np.bool_]
    rules: NDArray[np.int16]

    @classmethod
    def drawn(cls, seed: int, count: int, base: float = 0.01, faithful: float = 0.5) -> "Users":
        """So many users, of whom each fails in another share of requests, `base` on average.

        Args:
            seed: Of all that is drawn.
            count: How many.
            base: Share of requests.
            faithful: Share of the users whose requests all end alike.
        """
        dice = np.random.default_rng([seed, count])
        asks = np.cumsum(dice.lognormal(0.0, _SPREAD, count))
        return cls(
            names=[b"%d-%d" % (seed, number) for number in range(count)],
            asks=asks / asks[-1],
            fails=np.minimum(1.0, base * dice.gamma(_UNLIKE, 1 / _UNLIKE, count)),
            luck=dice.random(count),
            faithful=dice.random(count) < faithful,
            rules=np.full(count, DEFAULT_RULE, np.int16),
        )


@dataclass
class UserWorld(World):
    """A deployment of sticky units.

    Attributes:
        users: Who asks.
        ratio: The candidate fails so many times as often as control, for each user,
        floor: and in this share of requests more.
        broken: What is wrong with the counting.
        known: Partitions whose first requests are counted.
    """

    users: Users = field(default_factory=lambda: Users.drawn(0, 1000))
    ratio: float = 1.0
    floor: float = 0.0
    broken: Broken = Broken.NOTHING
    known: frozenset[int] = frozenset(range(PARTITIONS))

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.state.rollout is not None
        salt = self.state.rollout.salt
        self._buckets = np.array([bucket_of(salt, name) for name in self.users.names], np.int16)
        self._table = RoutingTable.compile(self.state)
        self._warming = -1
        self._seen = [SeenUnits() for _ in range(PARTITIONS)]

    def _summary(self) -> Summary:
        state = self.state
        assert state.rollout is not None
        judge, length = state.rollout.judge, window_ms(state.rollout.judge)
        count = int(self._random.poisson(self.rate * self.batch_ms / 1000))
        times = self.now - self.batch_ms + np.sort(self._random.integers(0, self.batch_ms, count))
        self._enter(state, int(windows_of(length, np.array([self.now - 1]))[0]))
        who = np.searchsorted(self.users.asks, self._random.random(count))
        routing, predictions = self._served(who)
        scores = self._scores(who, routing, predictions) if judged_score(judge) is not None else None
        rows = self._counted(windows_of(length, times), routing)
        firsts, marks = self._met(rows, who[rows], routing)
        names = self._table.arms
        counts = count_batch(judge, times, routing, predictions, names, scores=scores, firsts=firsts)
        for arm, number in zip(names, np.bincount(routing.arms, minlength=len(names)).tolist(), strict=True):
            self.requests[arm] = self.requests.get(arm, 0) + number
        start, both = self.now // length * length, len(set(routing.arms.tolist())) > 1
        self._sequence += 1
        return Summary(
            slot="w-0",
            sequence=self._sequence - 1,
            rollout=state.name,
            revision=state.revision,
            written_time=self.now,
            partitions=tuple(
                PartitionProgress(number, self._sequence, self._sequence + 1, 5, self.now)
                for number in range(PARTITIONS)
            ),
            windows=counts.windows,
            failing=counts.failing,
            runs=tuple(RunCounts(start, arm, 1, 0, 0) for arm in names[1:] if both),
            probes=tuple(
                self._probe(arm, start)
                for arm in names[1:]
                if both
                for _ in range(self._random.poisson(self.probes * self.batch_ms / 1000))
            ),
            firsts=counts.firsts,
            units=marks,
        )

    def _enter(self, state: State, newest: int) -> None:
        """Serve under a state from this batch on, whose newest request is in that window."""
        if state.revision == self._table.revision:
            return
        table = RoutingTable.compile(state)
        if table.stay != self._table.stay:
            self._seen = [SeenUnits() for _ in range(PARTITIONS)]
        self._table, self._warming = table, newest

    def _served(self, who: NDArray[np.int64]) -> tuple[Routing, Predictions]:
        users, buckets = self.users, self._buckets[who]
        ruled = len(self._table.owners) > 1
        rules = users.rules[who] if ruled else np.full(len(who), DEFAULT_RULE, np.int16)
        arms = assign(self._table, rules, buckets)
        rate = users.fails[who]
        rate = np.where(arms == CONTROL, rate, np.minimum(1.0, self.ratio * rate + self.floor))
        failed = np.where(users.faithful[who], users.luck[who], self._random.random(len(who))) < rate
        lost = np.where(arms == CONTROL, Outcome.DEAD_LETTER, Outcome.FALLBACK_ERROR)
        predictions = Predictions(
            served_by=np.where(failed, np.where(arms == CONTROL, NOBODY, CONTROL), arms).astype(np.int8),
            outcomes=np.where(failed, lost, Outcome.OK).astype(np.int8),
            micros=np.full(len(who), 900),
            outputs={},
            reasons={},
        )
        return Routing(ByteStrings.of([users.names[user] for user in who.tolist()]), buckets, rules, arms), predictions

    def _scores(self, who: NDArray[np.int64], routing: Routing, predictions: Predictions) -> NDArray[np.float64]:
        """Each user has a level of his own, about the arm's mean."""
        means = np.array([self.behaviours[arm].score for arm in self._table.arms])[routing.arms]
        scores = np.clip(means + 0.2 * (self.users.luck[who] - 0.5) + self._random.normal(0, 0.05, len(who)), 0, 1)
        return np.where(predictions.outcomes == Outcome.OK, scores, np.nan)

    def _counted(self, windows: NDArray[np.int64], routing: Routing) -> NDArray[np.int64]:
        """Requests behind the warm-up, of units that had met no candidate before: indices."""
        new = unexposed(self._table, routing) | (self.broken is Broken.EXPOSED)
        return np.flatnonzero(new & (windows > self._warming))

    def _met(
        self, rows: NDArray[np.int64], who: NDArray[np.int64], routing: Routing
    ) -> tuple[NDArray[np.int64] | None, tuple[UnitMarks, ...]]:
        """Which of some requests are evidence, and what is remembered of their users; all where a request is a unit."""
        stay, rollout = self._table.stay, self.state.rollout
        if rollout is None or not rollout.unit.sticky or stay < 0:
            return None, ()
        places = places_of(stay, [routing.units[row] for row in rows.tolist()])
        firsts, marks = [rows[:0]], []
        for partition, seen in enumerate(self._seen):
            mine = np.flatnonzero(who % PARTITIONS == partition)
            new = mine[seen.unmet(places[mine])]
            seen.add(places[new])
            counted = partition in self.known
            if counted:
                firsts.append(rows[mine] if self.broken is Broken.REQUESTS else rows[new])
            marks.append(UnitMarks(partition, stay, counted, seen.met, packed(places[new])))
        return np.sort(np.concatenate(firsts)), tuple(marks)
