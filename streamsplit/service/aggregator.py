"""Feeds the judge: batches of summaries in, one transaction each out.

A transaction holds the decisions, the judge's state behind them and the offset of `summaries`; so each summary is
judged once, and whoever takes over goes on from what was committed. Nothing survives an abort: the lane then begins
again at the committed offset, and the judge is restored from the state that belongs to it.
"""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from streamsplit.core.decision import Decision
from streamsplit.core.errors import DataError, ServiceError
from streamsplit.core.judge_commands import command_of
from streamsplit.core.records import RawBatch
from streamsplit.core.rollout import State
from streamsplit.core.summary import Summary
from streamsplit.kafka.batches import next_of
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.judge_positions import Succession
from streamsplit.kafka.lane import Lane
from streamsplit.kafka.outgoing import Outgoing
from streamsplit.service.due_commands import DueCommands
from streamsplit.service.stopwatch import Stopwatch
from streamsplit.service.tally import Tally
from streamsplit.wire.decisions import DecisionEncoder
from streamsplit.wire.judge_state import JudgeState, encode_judge_state
from streamsplit.wire.summaries import SummaryReader

logger = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
_REASONS_TOLD = 50
_FRAME_BYTES = 512
"""More than key and framing add to a value."""


class JudgeLike(Protocol):
    """What the aggregator needs of a judge (`core/judge.py`)."""

    @classmethod
    def fresh(cls) -> Self:
        """One that has seen nothing."""

    @classmethod
    def restored(cls, record: bytes) -> Self:
        """One that goes on from a record; raises DataError where that is unknown or damaged."""

    def record(self) -> bytes:
        """All that it goes on from."""

    @property
    def revision(self) -> int:
        """The highest revision that summaries have named so far; -1 for none."""

    def take(self, summary: Summary, offset: int, state: State, control_to: int) -> tuple[Decision, ...]:
        """Take a summary in; what follows from it."""

    def overhear(self, summary: Summary, state: State) -> None:
        """Take in what a summary says of control, and judge nothing: its rollout is not to be judged."""


@dataclass(frozen=True, slots=True)
class JudgeTopics:
    """Where a judge writes.

    Attributes:
        decisions: Topic of decisions.
        states: Topic of the judge's state.
        key: Key of both.
        limits: Topic → `max.message.bytes`.
    """

    decisions: str
    states: str
    key: bytes
    limits: dict[str, int]


class _LeftBehind(Exception):
    """The lane has begun again meanwhile; what is at hand cannot be committed any more."""


class Aggregator:
    """Judges batches of summaries. All methods but `stop` belong to one thread.

    Args:
        lane: Where batches come from and are committed.
        succession: What the lane's present beginning goes on from; None before the first.
        judge: Makes judges.
        follower: Of the control log.
        reader: Reads summaries.
        encoder: Writes decisions.
        topics: Where decisions and states go.
        due: Commands that are decided.
        tally: Counts.
    """

    def __init__(
        self,
        lane: Lane,
        succession: Callable[[], Succession | None],
        *,
        judge: type[JudgeLike],
        follower: ControlFollower,
        reader: SummaryReader,
        encoder: DecisionEncoder,
        topics: JudgeTopics,
        due: DueCommands,
        tally: Tally,
    ) -> None:
        self.lane = lane
        self._succession = succession
        self._maker = judge
        self._follower = follower
        self._reader = reader
        self._encoder = encoder
        self._topics = topics
        self._due = due
        self._tally = tally
        self._adopted: Succession | None = None
        self._judge: JudgeLike = judge.fresh()
        self._since = -1
        self._known = (-1, State())
        self._stopwatch = Stopwatch()
        self._stopping = threading.Event()
        self._told: set[str] = set()

    def stop(self) -> None:
        """Wait for nothing any more; may be called by any thread."""
        self._stopping.set()

    @property
    def problems(self) -> tuple[str, ...]:
        """What an operator should know; any thread may ask."""
        adopted = self._adopted
        notice = adopted.notice if adopted is not None else ""
        return tuple(each for each in (notice, self._due.problem) if each)

    def take(self, batch: RawBatch) -> None:
        """Judge a batch and commit what follows, or drop it where the lane has begun again.

        Raises:
            ServiceError: This judge must end; another one, perhaps here, goes on from what is committed.
        """
        committed = False
        try:
            if batch.epoch == self.lane.epoch:
                self._adopt()
                self._take(batch)
                committed = True
        except _LeftBehind:
            self._tally.add(time.monotonic(), {"dropped_summaries": len(batch)})
        finally:
            if not committed:
                self._adopted = None  # the judge at hand knows of summaries that will come again
            self.lane.done()

    def idle(self) -> None:
        """Several times a second: mend the transaction where it broke, write the commands that are due.

        Raises:
            Fenced: This judge must end.
        """
        self.lane.restore()
        if self.lane.progress().reading:
            self._adopt()
            self._due.write()

    def _adopt(self) -> None:
        """Go on from what belongs to the lane's present beginning."""
        succession = self._succession()
        if succession is None or succession is self._adopted:
            return
        state = succession.state
        self._judge = self._maker.fresh() if state is None else self._maker.restored(state.judge)
        self._since = succession.since
        self._due.replace(state.due if state is not None else ())
        self._adopted = succession
        logger.info("judging from %s on", "the first summary" if state is None else f"offset {state.summaries_to}")

    def _take(self, batch: RawBatch) -> None:
        self._stopwatch.begin()
        arrived = time.monotonic()
        counts: Counter[str] = Counter()
        decisions: list[Decision] = []
        for offset, value in zip(batch.offsets.tolist(), batch.values, strict=True):
            summary = self._read(offset, value, counts)
            if summary is None:
                continue
            revision = max(self._judge.revision, summary.revision)
            state = self._state(revision, batch.epoch, arrived)
            if state is None:
                self._pass_over(offset, f"it names revision {revision}, which the control log does not have", counts)
                continue
            if summary.revision < self._since:
                self._judge.overhear(summary, state)
                continue
            decisions += self._judge.take(summary, offset, state, revision + 1)
        counts.update({"summaries": len(batch), "decisions": len(decisions)})
        self._commit(batch, decisions)
        self._stopwatch.lap("judge")
        self._tally.add(time.monotonic(), {**counts, **self._stopwatch.take()})

    def _read(self, offset: int, value: bytes | None, counts: Counter[str]) -> Summary | None:
        if value is None:
            self._pass_over(offset, "it has no value", counts)
            return None
        try:
            return self._reader.read(value)
        except DataError as error:
            self._pass_over(offset, error.reason, counts)
            return None

    def _pass_over(self, offset: int, reason: str, counts: Counter[str]) -> None:
        """A record that cannot be judged stops nothing; each reason is said once."""
        counts["unreadable_summaries"] += 1
        kind = re.sub(r"\d+", "#", reason)
        if kind not in self._told and len(self._told) < _REASONS_TOLD:
            self._told.add(kind)
            logger.error("summary at offset %d is not judged: %s; more like it are only counted", offset, reason)

    def _state(self, revision: int, epoch: int, arrived: float) -> State | None:
        """The fold at a revision, once it is there; None where the log does not have it.

        Whoever wrote the summary had folded that revision. So a log whose end is known to be below it, as it was after
        the summary arrived, never had it.
        """
        if self._known[0] == revision:
            return self._known[1]
        while not self._stopping.is_set() and epoch == self.lane.epoch:
            view = self._follower.wait(lambda view: view.position > revision or view.known_to > arrived, _WAIT_SECONDS)
            if view is None:
                continue
            if view.state.newer_format:
                raise ServiceError(
                    "the control log holds commands that this version does not know: upgrade this worker"
                )
            if view.position <= revision:
                return None
            self._known = (revision, self._follower.state_at(revision))
            return self._known[1]
        raise _LeftBehind

    def _commit(self, batch: RawBatch, decisions: Sequence[Decision]) -> None:
        through = next_of(batch)
        caused = [command for decision in decisions if (command := command_of(decision)) is not None]
        due = tuple({command.command_id: command for command in (*self._due.due, *caused)}.values())
        state = JudgeState(through[0], self._judge.record(), self._since, due)
        outgoing = [
            self._outgoing(self._topics.decisions, [self._encoder.encode(each) for each in decisions]),
            self._outgoing(self._topics.states, [encode_judge_state(state)]),
        ]
        records = [each for each in outgoing if each.values]
        if not self.lane.restore():
            self.lane.abandon("the judge's transactional producer is not ready")
            raise _LeftBehind
        if not self.lane.commit(batch.epoch, records, through, self._judge.revision):
            raise _LeftBehind
        self._due.replace(due)
        self._due.write()

    def _outgoing(self, topic: str, values: list[bytes]) -> Outgoing:
        limit, largest = self._topics.limits[topic], max(map(len, values), default=0)
        if largest + _FRAME_BYTES > limit:
            raise ServiceError(f"{topic} accepts {limit} bytes and a record takes {largest}: raise max.message.bytes")
        return Outgoing.of(topic, values, [self._topics.key] * len(values))
