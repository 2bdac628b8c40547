"""The life of a worker: wait until it can serve, serve, finish the open batch, leave."""

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import faust

from streamsplit.core.errors import ServiceError
from streamsplit.core.records import CONTROL, RawBatch
from streamsplit.core.status import Status
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.kafka.control_follower import ControlFollower
from streamsplit.kafka.lane import Lane
from streamsplit.kafka.status_reader import StatusReader
from streamsplit.service.announcer import Announcer
from streamsplit.service.fleet import Fleet
from streamsplit.service.health import Health
from streamsplit.service.judging import Judging, Summaries
from streamsplit.service.report import Incarnation, Parts, Stall, unready
from streamsplit.service.splitter import Splitter
from streamsplit.service.warm_arms import WarmArms

logger = logging.getLogger(__name__)

_STATUS_SECONDS = 1.0
_TEND_SECONDS = 0.25
_FAUST_SECONDS = 5.0
_LISTEN_SECONDS = 2.0
_STOP_SECONDS = 10.0
_GARBAGE_OBJECTS = 100_000
"""More than a batch ever holds at once."""


def _leave_garbage_alone() -> None:
    """Look for cycles seldom, and never among what has been made up to here.

    A batch is thousands of objects that all go by their counts. Python's own thresholds had every one of them looked
    at several times: a microsecond a request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_OBJECTS, 10, 10)


@dataclass(slots=True)
class Serving:
    """What exists only once the brokers and all topics have answered.

    Attributes:
        lane: Where batches come from.
        splitter: What serves them.
        fleet: What watches the other workers.
        judging: What judges, while this worker is the judge.
        app: The Faust application.
        channel: Its channel of batches.
        summaries: Its channel of batches of summaries.
    """

    lane: Lane
    splitter: Splitter
    fleet: Fleet
    judging: Judging
    app: faust.App
    channel: Any
    summaries: Any


@dataclass(slots=True)
class Worker:
    """One worker.

    Attributes:
        incarnation: Who it is.
        follower: Of the control log.
        arms: The model processes.
        dispatcher: Hands batches to them.
        announcer: Says how it is.
        missing: Asks the brokers what is missing to begin; may block.
        reader: Makes a reader of the other workers' statuses.
        build: Makes what serves, once nothing is missing; given the worker.
        stuck: Whether Faust is left behind running, as it waits for its brokers for ever.
    """

    incarnation: Incarnation
    follower: ControlFollower
    arms: WarmArms
    dispatcher: Dispatcher
    announcer: Announcer
    missing: Callable[[], Sequence[str]]
    reader: Callable[[], StatusReader]
    build: Callable[["Worker"], Serving]
    stuck: bool = False
    _serving: Serving | None = None
    _startup: Sequence[str] = ("starting",)
    _lane_started: bool = False
    _failure: str | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _work: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="split"))
    _stall: Stall = field(default_factory=Stall)
    _leaving: bool = False
    _loop: asyncio.AbstractEventLoop | None = None

    # -- what others call ---------------------------------------------------------------------------------------------

    async def run(self) -> str | None:
        """Serve until stopped; the reason when it ends by itself, else None."""
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._stop.set)
        self.follower.start()
        status = asyncio.create_task(self._to_its_end(self._tell()))
        try:
            if await self._become_able():
                await self._serve()
        finally:
            await self._leave(status)
        return self._failure

    def deliver(self, batch: RawBatch) -> None:
        """Take a batch from the lane's thread."""
        assert self._loop is not None
        assert self._serving is not None
        asyncio.run_coroutine_threadsafe(self._serving.channel.put(batch), self._loop)

    def deliver_summaries(self, summaries: Summaries) -> None:
        """Take a batch of summaries from its lane's thread."""
        assert self._loop is not None
        assert self._serving is not None
        asyncio.run_coroutine_threadsafe(self._serving.summaries.put(summaries), self._loop)

    def fail(self, error: ServiceError) -> None:
        """End this process for a reason; any thread may call."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._fail, str(error))

    def note_change(self) -> None:
        """The control log has moved; any thread may call."""
        self.follow()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    def follow(self) -> None:
        """Keep warm what the state needs; states before the log's end are history, not work."""
        view = self.follower.view
        if view.caught_up:
            self.arms.follow(view.state)

    async def serve(self, batch: RawBatch) -> None:
        """What the agent `split` does with a batch."""
        assert self._serving is not None
        await self._to_its_end(self._in_work_thread(self._serving.splitter.take, batch))

    async def judge(self, summaries: Summaries) -> None:
        """What the agent `judge` does with a batch of summaries."""
        assert self._serving is not None
        await self._serving.judging.take(summaries)

    async def observe(self, key: bytes, value: bytes) -> None:
        """What the agent `fleet` does with a status."""
        assert self._serving is not None
        await self._serving.fleet.observe(key, value)

    def health(self) -> Health:
        """How this process is."""
        parts = self._parts()
        reasons = unready(parts)
        splitter = self._serving.splitter if self._serving is not None else None
        # Trouble that is known is not a stall: another process would have it, too.
        known = reasons or (splitter is not None and (splitter.problem is not None or splitter.waiting))
        stall = self._stall.reason(None if known else parts.progress)
        dead = [reason for reason in (self._failure, stall) if reason is not None]
        return Health(dead, reasons, self.announcer.status(parts, stopping=self._leaving))

    # -- the stages of its life ---------------------------------------------------------------------------------------

    async def _become_able(self) -> bool:
        """Wait for brokers, topics, an applied rollout and a warm control; False when told to stop meanwhile."""
        while not self._stop.is_set():
            self._startup = await asyncio.to_thread(self._obstacles)
            if not self._startup:
                break
            await self._pause(0.2)
        if self._stop.is_set():
            return False
        rival = await asyncio.to_thread(self._rival)
        if rival is not None:
            self._fail(rival)
        return not self._stop.is_set()

    def _obstacles(self) -> Sequence[str]:
        if missing := self.missing():
            return missing
        view = self.follower.view
        if not view.caught_up:
            return [view.problem or "the control log is being read"]
        self.follow()
        if not view.state.serving:
            return ["nothing is applied yet: run `streamsplit apply -f ROLLOUT.yaml`"]
        control = self.arms.of(view.state)[CONTROL]
        if control is None or not control.status.ready:
            reason = control.status.reason if control is not None else "not started"
            return [f"control is not warm yet: {reason}"]
        return []

    def _rival(self) -> str | None:
        """Another process with this slot that was there before, by a status that arrives now."""
        reader = self.reader()
        try:
            reader.read_to_end()
            end = time.monotonic() + _LISTEN_SECONDS
            while time.monotonic() < end:
                # Our own status may arrive right behind the other's, so that each of them counts, not the newest.
                others = [status for status in reader.poll() if self._precedes_us(status)]
                if others and not others[-1].stopping:
                    return (
                        f"another process (incarnation {others[-1].incarnation}) runs with slot {others[-1].slot!r}: "
                        "give each worker its own slot (STREAMSPLIT_SLOT), or stop the other one"
                    )
        except ServiceError as error:
            return str(error)
        finally:
            reader.close()
        return None

    def _precedes_us(self, status: Status) -> bool:
        ours = self.incarnation
        return status.slot == ours.slot and (status.started_ms, status.incarnation) < (ours.started_ms, ours.name)

    async def _serve(self) -> None:
        try:
            serving = self._serving = self.build(self)
        except ServiceError as error:
            self._fail(str(error))
            return
        while not await self._in_work_thread(serving.lane.restore):
            await self._pause(0.2)
            if self._stop.is_set():
                return
        await serving.app.start()
        _leave_garbage_alone()
        serving.lane.start()
        self._lane_started = True
        logger.info("%s serves", self.incarnation.slot)
        tending = asyncio.create_task(self._to_its_end(self._tend(serving.splitter)))
        judging = asyncio.create_task(self._to_its_end(self._tend_judge(serving.judging)))
        while not self._stop.is_set():
            await self._pause(_STATUS_SECONDS)
            if serving.app.crashed or serving.app.should_stop:
                self._fail("the Faust application ended; see the log above")
            if not self.follower.running:
                self._fail("the thread that follows the control log ended; see the log above")
        tending.cancel()
        judging.cancel()

    async def _tend(self, splitter: Splitter) -> None:
        """Let the splitter do what no batch makes it do; a batch may keep it busy for long."""
        while True:
            await asyncio.sleep(_TEND_SECONDS)
            await self._in_work_thread(splitter.idle)

    async def _tend_judge(self, judging: Judging) -> None:
        """Let the judge do what no summaries make it do."""
        while True:
            await judging.tend()
            await asyncio.sleep(_TEND_SECONDS)

    async def _to_its_end(self, activity: Coroutine[Any, Any, None]) -> None:
        """Carry out what this process cannot do without: an error in it ends the process instead of vanishing."""
        try:
            await activity
        except ServiceError as error:
            self._fail(str(error))
        except Exception as error:
            logger.exception("an error that nobody expected")
            self._fail(f"this process ends by an error that nobody expected: {error!r}")

    async def _leave(self, status: asyncio.Task[None]) -> None:
        logger.info("%s leaves", self.incarnation.slot)
        self._leaving = True
        serving = self._serving
        if serving is not None:
            serving.splitter.stop()
            await asyncio.gather(
                asyncio.to_thread(serving.lane.stop, _STOP_SECONDS), asyncio.to_thread(serving.judging.stop)
            )
            if serving.app.started:
                await self._stop_faust(serving.app)
        status.cancel()
        self.announcer.announce(self._parts(), stopping=True)
        await asyncio.to_thread(self.announcer.flush)
        await asyncio.to_thread(self._work.shutdown)
        if serving is not None:
            await asyncio.to_thread(serving.splitter.close)
            await asyncio.to_thread(serving.judging.close)
        await asyncio.to_thread(self.follower.stop)
        await asyncio.to_thread(self.arms.close)

    async def _stop_faust(self, app: faust.App) -> None:
        """Faust's own stop waits for its brokers, also when it is cancelled; nothing of ours depends on it any more."""
        _, unfinished = await asyncio.wait({asyncio.create_task(app.stop())}, timeout=_FAUST_SECONDS)
        if unfinished:
            self.stuck = True
            logger.warning("the Faust application did not stop within %.0f s", _FAUST_SECONDS)

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
            logger.error("%s", reason)
        self._stop.set()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _in_work_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._work, function, *arguments)

    # -- its status ---------------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Write the status once a second, and at once when the control log moves."""
        while True:
            self._changed.clear()
            self.announcer.announce(self._parts(), stopping=self._leaving)
            try:
                await asyncio.wait_for(self._changed.wait(), _STATUS_SECONDS)
            except TimeoutError:
                self.follow()

    def _parts(self) -> Parts:
        view = self.follower.view
        serving = self._serving
        found = (
            (
                serving.splitter.problem,
                serving.fleet.alarm,
                *serving.judging.problems,
                *serving.splitter.units.problems,
            )
            if serving is not None
            else ()
        )
        return Parts(
            view=view,
            arms=self.arms.report(view.state, self.dispatcher.breakers),
            unprepared=self.arms.unprepared(view.state),
            progress=serving.lane.progress() if serving is not None and self._lane_started else None,
            startup=self._startup,
            problems=[problem for problem in found if problem is not None],
            judging=serving is not None and serving.judging.active,
            units=serving.splitter.units.report() if serving is not None else None,
        )
