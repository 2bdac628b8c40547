"""Follows the control log and folds it: what workers, the judge and the command line know of the state.

Its thread reads the log from its first record and never belongs to a group. Twice a second it asks where the log
ends; a view is fresh while everything that was in the log at most five seconds ago has been folded.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streamsplit.core.commands import Refusal
from streamsplit.core.errors import ServiceError
from streamsplit.core.fold import apply
from streamsplit.core.rollout import State
from streamsplit.core.state_digest import state_digest
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.log_end import LogEnd, Look
from streamsplit.kafka.state_history import StateHistory
from streamsplit.wire.commands import decode_command

logger = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
"""How old the newest confirmation of the log's end may be."""

_POLL_SECONDS = 0.05
_UNASSIGNED_SECONDS = 0.01
_CHUNK = 500
_VERDICTS_KEPT = 64
_GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001 - librdkafka's own codes
_RESTART = "it holds other commands than those folded here; restart this process once that is right"


@dataclass(frozen=True, slots=True)
class ControlView:
    """What one follower knows.

    Attributes:
        state: The fold of the log up to `position`.
        position: The next offset to fold.
        caught_up: Whether the log's end was reached once.
        fresh: Whether all that was in the log within the last `FRESH_SECONDS` is folded.
        problem: Why it is not fresh, or soon will not be, with the cure; None where nothing is wrong.
        digest: Of the state; two digests at one revision are an alarm.
        known_to: Monotonic seconds: all that was in the log at this moment is folded.
    """

    state: State
    position: int
    caught_up: bool
    fresh: bool
    problem: str | None
    digest: str
    known_to: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one command.

    Attributes:
        offset: Its place in the log.
        accepted: Whether it was accepted; a repetition of an accepted one is.
        state: The state behind it.
        refusal: Why it changed nothing; None where it was accepted.
    """

    offset: int
    accepted: bool
    state: State
    refusal: Refusal | None = None


class ControlFollower:
    """Folds the control log in a thread of its own.

    Args:
        connection: The way to the broker.
        topic: The control topic.
        on_change: Called in the follower's thread with each view whose state or position is new.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        *,
        on_change: Callable[[ControlView], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._on_change = on_change
        self._clock = clock
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamsplit-control", daemon=True)
        state = State()
        self._view = ControlView(state, 0, caught_up=False, fresh=False, problem=None, digest=state_digest(state))
        self._history = StateHistory()
        self._verdicts: OrderedDict[int, Verdict] = OrderedDict()
        self._confirmed: float | None = None
        self._pending: Look | None = None
        self._topic_id: str | None = None
        self._fallen = 0
        self._unanswered = 0
        self._missing = False
        self._broken = False

    # -- for other threads --------------------------------------------------------------------------------------------

    @property
    def view(self) -> ControlView:
        """What is known now."""
        with self._changed:
            return self._seen()

    def wait(self, condition: Callable[[ControlView], bool], timeout: float) -> ControlView | None:
        """The first view that fulfils the condition, or None when none did within `timeout` seconds."""
        deadline = self._clock() + timeout
        with self._changed:
            while not condition(view := self._seen()):
                left = deadline - self._clock()
                if left <= 0:
                    return None
                # Freshness ends by time alone, which nobody announces.
                self._changed.wait(min(left, _POLL_SECONDS))
            return view

    def state_at(self, revision: int) -> State:
        """The fold at exactly this revision, which has to be below the view's `position`; without `command_ids`."""
        with self._changed:
            return self._history.at(revision)

    def verdict(self, offset: int, timeout: float) -> Verdict:
        """What came of the record at this offset, once it is folded.

        Raises:
            ServiceError: It was not folded in time, or so long ago that its verdict is no longer kept.
        """
        if self.wait(lambda view: view.position > offset, timeout) is None:
            why = self.view.problem or "the broker is slow"
            raise ServiceError(
                f"the command was written to {self._topic} at offset {offset}, but could not be read back within "
                f"{timeout:.0f} s ({why}); `streamsplit history` shows what came of it"
            )
        with self._changed:
            found = self._verdicts.get(offset)
        if found is None:
            raise ServiceError(f"{self._topic}: no verdict is kept for offset {offset}; see `streamsplit history`")
        return found

    @property
    def running(self) -> bool:
        """Whether its thread lives."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begins to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and its clients."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- the follower's thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        consumer = self._connection.reader(
            "streamsplit-control", fetch_error_backoff_ms=50, topic_metadata_refresh_interval_ms=5000
        )
        end = LogEnd(self._connection.admin("streamsplit-control-end"), self._topic)
        try:
            while not self._stopping.is_set():
                if self._topic_id is None or self._missing or self._broken:
                    self._stopping.wait(_UNASSIGNED_SECONDS)
                else:
                    self._read(consumer)
                look = end.look(self._clock(), self._view.position)
                if look is not None and not self._broken:
                    self._take_look(look, consumer)
        finally:
            consumer.close()
            if not self._stopping.is_set():
                self._complain("the thread that follows the control log has ended; restart this process")

    def _read(self, consumer: Consumer) -> None:
        # `consume` would wait until its chunk is full; `poll` returns with the first message.
        first = consumer.poll(_POLL_SECONDS)
        if first is None:
            return
        messages = [first, *consumer.consume(_CHUNK, 0)]
        state, position, verdicts = self._view.state, self._view.position, []
        for message in messages:
            error, offset = message.error(), message.offset()
            if error is None:
                assert offset is not None
                verdict = _judge(state, message, offset)
                state, position = verdict.state, offset + 1
                verdicts.append(verdict)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code
                # Markers of transactions are never delivered; the end tells that they are passed.
                position = max(position, offset or 0)
            elif error.code() in _GONE:
                self._break(f"the beginning of {self._topic} is gone, or its end has fallen: {_RESTART}")
                return
            else:
                logger.info("%s: %s", self._topic, error.str())
        self._publish(state, position, verdicts)

    def _publish(self, state: State, position: int, verdicts: list[Verdict]) -> None:
        before = self._view
        digest = before.digest if state is before.state else state_digest(state)
        with self._changed:
            self._view = replace(before, state=state, position=position, digest=digest)
            for verdict in verdicts:
                self._verdicts[verdict.offset] = verdict
                self._history.add(verdict.state)
            while len(self._verdicts) > _VERDICTS_KEPT:
                self._verdicts.popitem(last=False)
            self._confirm()
            self._changed.notify_all()
            view = self._seen()
        if self._on_change is not None and (state is not before.state or position != before.position):
            self._on_change(view)

    def _take_look(self, look: Look, consumer: Consumer) -> None:
        if look.missing:
            # It may come back as another topic, whose commands must not be folded into this state: read no further.
            self._missing = True
            self._complain(f"topic {self._topic} is missing: streamsplit topics create")
        elif look.error is not None or look.end is None:
            self._unanswered += 1
            if self._unanswered > 1:  # one alone is what a change of leaders looks like
                self._complain(f"the end of {self._topic} cannot be confirmed: {look.error}")
        elif self._topic_id is None:
            self._topic_id, self._missing = look.topic_id, False
            # Offset 0 itself, not `the beginning`: a log whose first commands are gone cannot be folded.
            consumer.assign([TopicPartition(self._topic, 0, 0)])
            self._await(look)
        elif look.topic_id != self._topic_id:
            self._break(f"topic {self._topic} was deleted and made again: {_RESTART}")
        elif look.end < look.position:
            # A new leader may answer once with an end that it is about to raise.
            self._fallen += 1
            if self._fallen > 1:
                self._break(f"the end of {self._topic} fell from {look.position} to {look.end}: {_RESTART}")
        else:
            self._fallen, self._missing = 0, False
            self._await(look)

    def _await(self, look: Look) -> None:
        """Everything before the look is known as soon as the fold has come to the end it saw."""
        self._unanswered = 0
        with self._changed:
            if self._pending is None:
                self._pending = look
            self._confirm()
            self._changed.notify_all()

    def _confirm(self) -> None:
        if self._pending is not None and self._pending.end is not None and self._view.position >= self._pending.end:
            self._confirmed = self._pending.asked
            self._pending = None
            self._view = replace(self._view, caught_up=True, problem=None, known_to=self._confirmed)

    def _complain(self, problem: str) -> None:
        with self._changed:
            if problem != self._view.problem:
                logger.warning("%s", problem)
            self._view = replace(self._view, problem=problem)
            self._changed.notify_all()

    def _break(self, problem: str) -> None:
        """What was folded and what the log says no longer belong together: never fresh again."""
        self._broken = True
        self._complain(problem)

    def _seen(self) -> ControlView:
        if self._confirmed is None or self._broken:
            return replace(self._view, fresh=False)
        age = self._clock() - self._confirmed
        if age <= FRESH_SECONDS:
            return replace(self._view, fresh=True)
        silent = f"the end of {self._topic} cannot be confirmed: no answer for {age:.0f} s"
        return replace(self._view, fresh=False, problem=self._view.problem or silent)


def _judge(state: State, message: Message, offset: int) -> Verdict:
    value = message.value()
    command = decode_command(
        value if value is None or isinstance(value, bytes) else value.encode(),
        offset=offset,
        timestamp_ms=message.timestamp()[1],
        active_rollout=state.name,
    )
    result = apply(state, offset, command)
    if isinstance(result, Refusal):
        return Verdict(offset, accepted=False, state=state, refusal=result)
    return Verdict(offset, accepted=True, state=result)
