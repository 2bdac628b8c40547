"""Where the judge goes on: at the committed offset of `summaries`, from the state that was written with it.

Both are written in one transaction, so they agree, unless an operator has reset the offset or the topic of states was
lost. Then the judge starts afresh with the summaries of the present rollout, and says so.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamsplit.core.errors import DataError, ServiceError
from streamsplit.kafka.latest_record import LatestRecord
from streamsplit.kafka.positions import Begin, Gate, Positions, Wait
from streamsplit.wire.judge_state import JudgeState, JudgeStateReader

logger = logging.getLogger(__name__)

_SURE_SECONDS = 2.0
_ASK_SECONDS = 1.0
_ACCEPTED = {0: 2**63 - 1}
"""Summaries that retention removed cannot be judged by anybody: nothing is gained by waiting for an operator."""


@dataclass(frozen=True, slots=True, eq=False)
class Succession:
    """What a judge goes on from; a new one for each beginning.

    Attributes:
        state: The state; None: a fresh one.
        since: Summaries of revisions below it are passed over.
        notice: What an operator should know of this beginning; empty where nothing is unusual.
    """

    state: JudgeState | None
    since: int
    notice: str = ""


class JudgePositions(Positions):
    """Finds where `summaries` is read from, and what state belongs there.

    Args:
        consumer: The group's consumer.
        topic: The topic of summaries.
        latest: Reads the last state; may block.
        restore: Makes a judge of its record; raises DataError where it cannot.
        folded_to: The next offset of `control` to fold.
        applied: Revision of the present rollout's apply.
        clock: Monotonic seconds.

    Attributes:
        succession: What belongs to the offset that was found last.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        *,
        latest: Callable[[], LatestRecord],
        restore: Callable[[bytes], object],
        folded_to: Callable[[], int],
        applied: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(consumer, topic, (), "earliest", lambda: Gate(folded_to(), _ACCEPTED))
        self._latest = latest
        self._restore = restore
        self._applied = applied
        self._clock = clock
        self._reader = JudgeStateReader()
        self._doubt: tuple[int, int | None, float] | None = None
        self.succession: Succession | None = None

    def find(self, partition: int) -> Begin | Wait:
        """Where to begin, or why it has to wait. Blocks for a few requests to the brokers."""
        try:
            found = super().find(partition)
            return self._succeed(found) if isinstance(found, Begin) else found
        except ServiceError as error:
            return Wait(f"{error}; asking again")
        except KafkaException as error:
            return Wait(f"{self._topic}: {error.args[0].str()}; asking again")

    def _start_of(self, partition: TopicPartition) -> int:
        """A group whose offsets have expired goes on where the last state says."""
        start, end = self._consumer.get_watermark_offsets(partition, timeout=_ASK_SECONDS, cached=False)
        found = self._latest()
        if found.undecided:
            raise ServiceError("the transaction of the judge before is not decided yet")
        state, _ = self._read(found)
        return int(state.summaries_to if state is not None and start <= state.summaries_to <= end else start)

    def _succeed(self, begin: Begin) -> Begin | Wait:
        committed = begin.lost[0] if begin.lost else begin.offset
        found = self._latest()
        state, damage = self._read(found)
        if state is not None and state.summaries_to == committed:
            self._doubt = None
            notice = "" if begin.lost is None else self._lost(begin.lost)
            self.succession = Succession(state, state.since, notice)
            return begin
        if found.value is None and not found.undecided and self._is_first(begin):
            self.succession = Succession(None, self._applied())
            return begin
        return self._disagree(committed, state, damage, undecided=found.undecided)

    def _disagree(self, committed: int, state: JudgeState | None, damage: str, *, undecided: bool) -> Begin | Wait:
        """Believe it only once it stays: the markers of one transaction reach its topics one after the other."""
        named = state.summaries_to if state is not None else None
        now = self._clock()
        if self._doubt is None or self._doubt[:2] != (committed, named) or undecided:
            self._doubt = (committed, named, now)
        what = (
            f"the judge's state is for offset {named}" if state is not None else damage or "the judge's state is gone"
        )
        if now - self._doubt[2] < _SURE_SECONDS:
            return Wait(f"{what}, and {committed} is committed; asking again")
        self._doubt = None
        start = self._first_offset()
        applied = self._applied()
        notice = (
            f"{what}, and offset {committed} of {self._topic} is committed: judging the rollout applied at "
            f"revision {applied} again from its first summary"
        )
        logger.error("%s", notice)
        self.succession = Succession(None, applied, notice)
        return Begin(start)

    def _first_offset(self) -> int:
        whole = TopicPartition(self._topic, 0)
        start, _ = self._consumer.get_watermark_offsets(whole, timeout=_ASK_SECONDS, cached=False)
        return int(start)

    def _is_first(self, begin: Begin) -> bool:
        """Whether nothing was ever judged here: no state, and the offset at the beginning of what is kept."""
        return begin.lost is None and begin.offset == self._first_offset()

    def _lost(self, lost: tuple[int, int]) -> str:
        start, end = lost
        return f"summaries {start} to {end - 1} were removed by retention before they were judged"

    def _read(self, found: LatestRecord) -> tuple[JudgeState | None, str]:
        """The state, or what is wrong with its record."""
        if found.value is None:
            return None, ""
        try:
            state = self._reader.read(found.value)
            self._restore(state.judge)
        except DataError as error:
            return None, f"the judge's state cannot be read ({error.reason})"
        return state, ""
