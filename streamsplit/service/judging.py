"""Keeps a judge: builds its lane, lets it work in a thread of its own, builds it anew when it has failed.

Every worker keeps one. The group of `summaries`, a topic of one partition, makes one of them the judge; the others
stand in. A judge that fails never stops the requests: the worker says so in its status, and tries again later.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from streamsplit.core.errors import ServiceError
from streamsplit.core.records import RawBatch
from streamsplit.service.aggregator import Aggregator
from streamsplit.service.report import Stall

logger = logging.getLogger(__name__)

_BACK_OFF_SECONDS = 1.0
_LONGEST_SECONDS = 30.0
_HEALTHY_SECONDS = 60.0
"""A judge that has worked for so long has left its failures behind."""


@dataclass(frozen=True, slots=True)
class Summaries:
    """A batch of summaries, and who read it: a lane that has been given up may have left some behind.

    Attributes:
        aggregator: Whose lane it is from.
        batch: The raw records.
    """

    aggregator: Aggregator
    batch: RawBatch


@dataclass(slots=True)
class Judging:
    """The judge of one worker.

    Attributes:
        build: Makes an aggregator with its lane, not started yet; given what takes the reason when it must end. May
            block, and raise ServiceError.
        clock: Monotonic seconds.
    """

    build: Callable[[Callable[[ServiceError], None]], Aggregator]
    clock: Callable[[], float] = time.monotonic
    _work: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="judge"))
    _aggregator: Aggregator | None = None
    _started_at: float | None = None
    _failure: str | None = None
    _lane_failure: ServiceError | None = None
    _failures: int = 0
    _again_at: float = 0.0
    _stall: Stall = field(default_factory=Stall)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def active(self) -> bool:
        """Whether this worker is the judge now; any thread may ask."""
        aggregator = self._aggregator
        return aggregator is not None and bool(aggregator.lane.progress().reading)

    @property
    def problems(self) -> tuple[str, ...]:
        """What an operator should know; any thread may ask."""
        aggregator, failure = self._aggregator, self._failure
        found = [f"the judge of this worker failed and is started again: {failure}"] if failure is not None else []
        if aggregator is not None:
            progress = aggregator.lane.progress()
            stall = self._stall.reason(progress)
            found += [f"summaries: {stall}"] if stall is not None else []
            found += [progress.problem] if progress.problem is not None else []
            found += [wait.reason for wait in progress.waiting.values() if wait.alarm]
            found += aggregator.problems if progress.reading else ()
        return tuple(found)

    async def take(self, summaries: Summaries) -> None:
        """Judge a batch; it is what the agent `judge` does."""
        await self._in_its_thread(lambda: self._take(summaries))

    async def tend(self) -> None:
        """Several times a second: build what is missing, do what no batch makes it do."""
        await self._in_its_thread(self._tend)

    def stop(self) -> None:
        """Commit what is under way, leave the group; what waits is the next judge's."""
        self._stopping.set()
        aggregator = self._aggregator
        if aggregator is not None:
            aggregator.stop()
        self._work.submit(self._give_up).result()

    def close(self) -> None:
        """End its thread, once nobody calls any more."""
        self._work.shutdown()

    async def _in_its_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._work, self._guarded, work)

    def _take(self, summaries: Summaries) -> None:
        aggregator = summaries.aggregator
        if aggregator is self._aggregator and not self._stopping.is_set():
            aggregator.take(summaries.batch)
        else:
            aggregator.lane.done()

    def _tend(self) -> None:
        if self._stopping.is_set() or (self._aggregator is None and self.clock() < self._again_at):
            return
        if self._lane_failure is not None:
            raise self._lane_failure
        aggregator = self._aggregator
        if aggregator is None:
            aggregator = self._aggregator = self.build(self._note_failure)
        if self._started_at is not None:
            aggregator.idle()
            self._failures = 0 if self.clock() - self._started_at > _HEALTHY_SECONDS else self._failures
        elif aggregator.lane.restore():
            # What an earlier process of this slot left open is ended now; the committed offset can be asked for.
            aggregator.lane.start()
            self._started_at, self._failure = self.clock(), None

    def _note_failure(self, error: ServiceError) -> None:
        """The lane has ended; called in its thread."""
        self._lane_failure = error

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ServiceError as error:
            self._fail(str(error))
        except Exception as error:
            logger.exception("an error of the judge that nobody expected")
            self._fail(f"an error that nobody expected: {error!r}")

    def _fail(self, reason: str) -> None:
        self._give_up()
        wait = min(_LONGEST_SECONDS, _BACK_OFF_SECONDS * 2.0**self._failures)
        self._failures += 1
        self._failure, self._again_at = reason, self.clock() + wait
        logger.error("the judge failed, and is started again in %.0f s: %s", wait, reason)

    def _give_up(self) -> None:
        aggregator, self._aggregator = self._aggregator, None
        if aggregator is not None:
            aggregator.lane.stop(0.0)
        self._started_at = self._lane_failure = None
