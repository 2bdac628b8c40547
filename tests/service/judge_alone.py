"""A worker's judge without the rest of the worker: its lane, its supervision, its follower of the control log.

As a program it runs until it is killed, and meets a fault at a marked point of its transactions; what and when comes as
JSON on standard input. It says on standard output how it is, whenever that changes.
"""

import asyncio
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

from streamsplit.core.decision import Decision, DecisionKind, decision_id
from streamsplit.core.errors import DataError
from streamsplit.core.rollout import State
from streamsplit.core.summary import Summary
from streamsplit.inference.worker import die_with
from streamsplit.kafka.clients import Connection
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.topics import Topics
from streamsplit.service.aggregator import JudgeLike
from streamsplit.service.judge_app import JudgeSurroundings, build_judge
from streamsplit.service.judging import Judging, Summaries
from streamsplit.service.settings import Settings
from streamsplit.service.tally import Tally
from tests.faults.faulty_worker import striking

BAD = "bad"
"""Slot of a summary that makes the chaining judge take the rollout back."""

EVERY = 5
_TURN_SECONDS = 0.05
_CAUGHT_UP_SECONDS = 120.0


class Chaining:
    """A judge whose decisions show what it has read: which summaries, in which order, under which states."""

    def __init__(self, revision: int = -1, chain: str = "", seen: int = 0) -> None:
        self.revision, self.chain, self.seen = revision, chain, seen

    @classmethod
    def fresh(cls) -> Self:
        return cls()

    @classmethod
    def restored(cls, record: bytes) -> Self:
        try:
            return cls(*json.loads(record))
        except (ValueError, TypeError) as error:
            raise DataError("decode", f"damaged: {error}") from error

    def record(self) -> bytes:
        return json.dumps([self.revision, self.chain, self.seen]).encode()

    def overhear(self, summary: Summary, state: State) -> None:
        """Nothing: what is not judged is no part of the chain."""

    def take(self, summary: Summary, offset: int, state: State, control_to: int) -> tuple[Decision, ...]:
        self.revision = max(self.revision, summary.revision)
        self.seen += 1
        link = f"{self.chain} {offset} {summary.sequence} {state.revision} {state.phase}"
        self.chain = hashlib.sha256(link.encode()).hexdigest()
        bad = summary.slot == BAD and state.phase.active
        if not bad and self.seen % EVERY:
            return ()
        kind = DecisionKind.ROLLBACK if bad else DecisionKind.HOLD
        return (
            Decision(
                decision_id=decision_id(state.name, state.revision, (offset, offset), kind),
                rollout=state.name,
                apply_revision=state.apply_revision,
                revision=state.revision,
                step=state.step,
                window_start=offset,
                window_end=offset + 1,
                kind=kind,
                reasons=(self.chain,),
                command="abort" if bad else "",
                command_id=f"judge-abort-{state.apply_revision}" if bad else "",
                summaries_to=offset + 1,
                control_to=control_to,
                log_time=summary.written_time,
            ),
        )


class JudgeAlone:
    """One judge, in a thread of its own.

    Args:
        settings: Of the worker whose judge it is.
        judge: Makes judges.
        hook: Called at the points that its transactions pass.
        follows: Whether it follows the control log from the start; else from `follow` on.
    """

    def __init__(
        self,
        settings: Settings,
        judge: type[JudgeLike] = Chaining,
        hook: Callable[[str], None] = lambda _: None,
        *,
        follows: bool = True,
    ) -> None:
        connection, topics = Connection(settings.brokers), Topics(settings.deployment)
        self._loop = asyncio.new_event_loop()
        self._stopping = threading.Event()
        self._follows = follows
        self.tally = Tally()
        self.follower = ControlFollower(connection, topics.control)
        around = JudgeSurroundings(
            settings,
            connection,
            connection.admin(),
            topics,
            None,
            self.follower,
            self.tally,
            judge,
            self._deliver,
            lambda point: hook(point.removeprefix("judge:")),
        )
        self.judging = Judging(partial(build_judge, around))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        if self._follows:
            self.follow()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.judging.stop()
        self.judging.close()
        self.follower.stop()

    def follow(self) -> None:
        """Follow the control log, and return when its end is known."""
        self.follower.start()
        assert self.follower.wait(lambda view: view.caught_up, _CAUGHT_UP_SECONDS) is not None

    def _deliver(self, summaries: Summaries) -> None:
        asyncio.run_coroutine_threadsafe(self.judging.take(summaries), self._loop)

    def _run(self) -> None:
        self._loop.run_until_complete(self._turns())

    async def _turns(self) -> None:
        while not self._stopping.is_set():
            await self.judging.tend()
            await asyncio.sleep(_TURN_SECONDS)


def settings_of(brokers: str, deployment: str, slot: str, **group: Any) -> Mapping[str, Any]:
    """Settings of a judge that is given up after six seconds' silence."""
    times = {"session_timeout": 6.0, "transaction_timeout": 5.0}
    return {"brokers": brokers, "deployment": deployment, "slot": slot, "group": {**times, **group}}


def main() -> None:
    """Judge until killed."""
    die_with(int(sys.argv[1]))
    order = json.load(sys.stdin)
    hook = striking(**order["fault"]) if order["fault"] else lambda _: None
    with JudgeAlone(Settings(**order["settings"]), hook=hook) as alone:
        said = ""
        while True:
            now = json.dumps({"judging": alone.judging.active, "problems": alone.judging.problems})
            if now != said:
                print(now, flush=True)  # noqa: T201 # what the test reads
                said = now
            threading.Event().wait(_TURN_SECONDS)


if __name__ == "__main__":
    main()
