"""The way of a request through a worker, batch by batch, in two threads.

    serving:      decode, route, hand to the arms, wait for them, encode  →  wait until the batch before is committed
    committing:   one transaction, then the room of the batch is free

So while a batch is served, the one before is committed, and never more than one is committed at a time. A batch has
exactly one revision: the state is read once, when it is taken.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.errors import ServiceError
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.records import CONTROL, DeadLetter, RawBatch, RequestColumns, Routing, Signature
from streamsplit.core.rollout import Limits, State, chain_label
from streamsplit.core.routing import RoutingTable, route
from streamsplit.core.scores import judged_score
from streamsplit.inference.arm import Arm
from streamsplit.inference.breakers import BreakerUpdate
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.flight import Flight
from streamsplit.inference.job import Job
from streamsplit.inference.probing import Prober
from streamsplit.inference.waiting import Abandoned, ControlUnavailable
from streamsplit.kafka.lane import Lane, Progress
from streamsplit.kafka.transaction import Fenced
from streamsplit.native.library import hashes
from streamsplit.service.breaker_abort import BreakerAbort
from streamsplit.service.sealing import Sealed, Sealer
from streamsplit.service.served import Served
from streamsplit.service.stopwatch import Stopwatch
from streamsplit.service.tally import Tally
from streamsplit.service.unit_memory import Met, UnitMemory
from streamsplit.service.warm_arms import WarmArms
from streamsplit.wire.decoder import RequestDecoder
from streamsplit.wire.provenance import Provenance
from streamsplit.wire.request import Wanted

logger = logging.getLogger(__name__)

LONGEST_NAME = 65_536
"""Most bytes of a request's id and of its unit: its audit record, which holds both, must pass every topic."""

_IDLE_SECONDS = 0.7
_RETRY_SECONDS = 0.5
_WAITING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Serving:
    """What batches are served under now.

    Attributes:
        state: The fold of the control log.
        fresh: Whether the log's end was confirmed lately; otherwise candidates are not asked.
    """

    state: State
    fresh: bool


@dataclass(frozen=True, slots=True)
class _UnderWay:
    state: State
    control: Arm
    job: Job
    batch: RawBatch
    requests: RequestColumns
    letters: list[DeadLetter]
    table: RoutingTable
    routing: Routing
    flight: Flight
    provenance: Provenance
    judge: JudgeSettings


@dataclass(frozen=True, slots=True)
class _Served:
    """A batch that only has to be committed."""

    sealed: Sealed
    met: Met
    update: BreakerUpdate
    spent: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What is being committed: partition → next offset, under its epoch and revision; the link of its last summary."""

    epoch: int = -1
    through: Mapping[int, int] = field(default_factory=dict)
    link: bytes | None = None
    revision: int = -1

    def of(self, progress: Progress) -> Progress:
        """Where the lane will stand once that is committed; if it is not, nothing after it will be, either."""
        if progress.epoch != self.epoch:
            return progress
        lost = {number: each for number, each in progress.lost.items() if number not in self.through}
        return replace(
            progress,
            reading={**progress.reading, **self.through},
            revisions={**progress.revisions, **dict.fromkeys(self.through, self.revision)},
            lost=lost,
        )


class Splitter:
    """Serves batches and commits them. All methods but `stop` and `close` belong to one thread.

    Args:
        lane: Where batches come from and are committed.
        serving: The state to serve under, read once a batch.
        arms: The model processes.
        dispatcher: Hands batches to them.
        prober: Times them beside each other, between two batches.
        decoder: Reads requests.
        sealer: Writes records.
        tally: Counts.
        aborts: Takes a rollout back whose breaker is open here.
        units: Whom it has met, where a unit has many requests.
        stopwatch: Of the thread that serves.

    Attributes:
        problem: Why the last batch could not be served; None where it was.
    """

    def __init__(
        self,
        lane: Lane,
        serving: Callable[[], Serving],
        arms: WarmArms,
        *,
        dispatcher: Dispatcher,
        prober: Prober,
        decoder: RequestDecoder,
        sealer: Sealer,
        tally: Tally,
        aborts: BreakerAbort,
        units: UnitMemory,
        stopwatch: Stopwatch,
    ) -> None:
        self._stopwatch = stopwatch
        self._lane = lane
        self._serving = serving
        self._arms = arms
        self._dispatcher = dispatcher
        self._prober = prober
        self._decoder = decoder
        self._sealer = sealer
        self._tally = tally
        self._aborts = aborts
        self.units = units
        self._committing = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._commit_watch = Stopwatch()
        self._commit: Future[bool] | None = None
        self._ahead = _Ahead()
        self._link: bytes | None = None
        self._table: tuple[State, RoutingTable] | None = None
        self._written_at = 0.0
        self._consumed = 0
        self._asked_at = float("-inf")
        self._pausing = threading.Event()
        self.problem: str | None = None

    def take(self, batch: RawBatch) -> None:
        """Serve a batch while the one before is committed; then let it be committed, too.

        Raises:
            Fenced: This process must end.
        """
        self._stopwatch.begin()
        try:
            if batch.epoch != self._lane.epoch:
                self._drop()
                return
            served = self._serve(batch)
            self._settle()
            self._begin_commit(served)
            self._prober.poll()
            self.problem = None
        except Fenced:
            raise
        except ServiceError as error:
            self._settle()
            if batch.epoch == self._lane.epoch:
                self._lane.abandon(str(error))
            self._drop()
            if not isinstance(error, Abandoned):
                self.problem = str(error)
                self._pausing.wait(_RETRY_SECONDS)
        except BaseException:
            # Whatever it is: no later batch may be committed before this one.
            self._lane.abandon("a batch could not be served; this process ends")
            self._drop()
            raise
        finally:
            self._arms.release()

    def stop(self) -> None:
        """Wait no more before trying again; may be called by any thread."""
        self._pausing.set()

    def close(self) -> None:
        """End the thread that commits, once it has nothing to do; when the lane has ended."""
        self._committing.shutdown()
        self.units.close()

    @property
    def waiting(self) -> bool:
        """Whether a batch waits for its models, which have deadlines of their own; any thread may ask."""
        return time.monotonic() - self._asked_at < _WAITING_SECONDS

    def idle(self) -> None:
        """Several times a second: write a summary where none was lately, mend the transaction where it broke.

        Raises:
            Fenced: This process must end.
        """
        self._arms.release()
        self._prober.poll()
        if self._commit is not None and not self._commit.done():
            return
        self._settle()
        state = self._serving().state
        self._aborts.ask(state)
        self.units.attend(self._routing_table(state), self._lane.progress())
        if time.monotonic() - self._written_at < _IDLE_SECONDS or not self._lane.restore():
            return
        progress, provenance = self._lane.progress(), _provenance(state, None)
        self._write(self._sealer.seal_idle(progress, provenance, _now_ms(), previous=self._link), {})

    def _settle(self) -> None:
        """Wait until what was served is committed, or is known not to be.

        Raises:
            Fenced: This process must end.
        """
        commit, self._commit = self._commit, None
        if commit is not None:
            self.units.settle(committed=commit.result())

    def _drop(self) -> None:
        self._tally.add(time.monotonic(), {"dropped_batches": 1})
        self._lane.done()

    def _serve(self, batch: RawBatch) -> _Served:
        """Everything up to the records of the batch's transaction."""
        return self._finish(self._prepare(batch))

    def _prepare(self, batch: RawBatch) -> _UnderWay:
        serving = self._serving()
        state = serving.state
        arms = self._arms.of(state)
        control = arms[CONTROL]
        signature = control.status.signature if control is not None else None
        if signature is None:
            reason = control.status.reason if control is not None else "nothing is applied"
            raise ControlUnavailable(f"control ({chain_label(state.serving)}) is not loaded: {reason}")
        table = self._routing_table(state)
        requests, letters, routing = self._read(batch, signature, table)
        rollout = state.rollout
        job = Job(
            inputs=requests.inputs,
            assigned=routing.arms,
            arms=arms,
            rollout=state.apply_revision,
            limits=rollout.limits if rollout else Limits(),
            checks=rollout.checks if rollout else {},
            stale=not serving.fresh,
            mirrors=routing.mirrors,
            budget_seconds=table.budget_seconds,
            score=judged_score(rollout.judge) if rollout else None,
        )
        assert control is not None
        self._prober.give_way()
        self._stopwatch.lap("probe")
        flight = self._dispatcher.submit(job)
        self._stopwatch.lap("hand over")
        return _UnderWay(
            state,
            control,
            job,
            batch,
            requests,
            letters,
            table,
            routing,
            flight,
            _provenance(state, signature),
            rollout.judge if rollout else JudgeSettings(),
        )

    def _read(
        self, batch: RawBatch, signature: Signature, table: RoutingTable
    ) -> tuple[RequestColumns, list[DeadLetter], Routing]:
        """Decode and route; requests whose id or unit no audit record could hold are dead letters."""
        requests, letters = self._decoder.decode(batch, Wanted(signature.inputs, table.attributes))
        self._stopwatch.lap("decode")
        routing = route(table, requests, _keys(batch, requests), hashes)
        self._stopwatch.lap("route")
        if _longest(requests.ids) <= LONGEST_NAME and _longest(routing.units) <= LONGEST_NAME:
            return requests, letters, routing
        fitting = np.maximum(requests.ids.lengths, routing.units.lengths) <= LONGEST_NAME
        reason = f"its id or unit is longer than {LONGEST_NAME} bytes"
        letters += [DeadLetter(int(row), "decode", reason) for row in requests.rows[~fitting]]
        requests = requests.at(np.flatnonzero(fitting))
        return requests, letters, route(table, requests, _keys(batch, requests), hashes)

    def _routing_table(self, state: State) -> RoutingTable:
        if self._table is None or self._table[0] is not state:
            self._table = (state, RoutingTable.compile(state))
        return self._table[1]

    def _finish(self, under_way: _UnderWay) -> _Served:
        collected = under_way.flight.collect(lambda: self._still_wanted(under_way))
        self._stopwatch.lap("collect")
        judge = under_way.judge
        probed = self._prober.take(under_way.state.apply_revision)
        self._prober.consider(under_way.job, collected.predictions, self._dispatcher.breakers, judge.latency)
        self._stopwatch.lap("probe")
        served = Served(
            under_way.batch,
            under_way.requests,
            under_way.letters,
            under_way.routing,
            collected.predictions,
            under_way.provenance,
            judge,
            [(each.arm, each.timing) for each in probed],
        )
        progress = self._lane.progress()
        previous = self._previous(progress.epoch)
        standing, now_ms = self._ahead.of(progress), _now_ms()
        met = self.units.meet(served, under_way.table, standing, now_ms)
        self._stopwatch.lap("units")
        served = replace(served, firsts=met.firsts, units=met.marks)
        sealed = self._sealer.seal(served, standing, now_ms, self._probe_on, previous=previous)
        self._probe_on()
        return _Served(sealed, met, collected.update, self._stopwatch.take())

    def _previous(self, epoch: int) -> bytes | None:
        """The link of the summary before: of the one being committed, or of the last that was, under another epoch."""
        if self._commit is not None and epoch == self._ahead.epoch:
            return self._ahead.link
        self._settle()
        return self._link

    def _probe_on(self) -> None:
        """Between two things to do: the processes have nothing to do meanwhile, except for a probe."""
        self._prober.poll()
        self._stopwatch.lap("probe")

    def _still_wanted(self, under_way: _UnderWay) -> bool:
        """Whether to wait on: an abort must not wait for a control that it has replaced and that does not come up."""
        self._asked_at = time.monotonic()
        if under_way.batch.epoch != self._lane.epoch:
            return False
        return under_way.control.status.ready or self._serving().state.serving == under_way.state.serving

    # -- the thread that commits --------------------------------------------------------------------------------------

    def _begin_commit(self, served: _Served) -> None:
        sealed = served.sealed
        self._ahead = _Ahead(sealed.epoch, sealed.through, sealed.link, sealed.revision)
        self.units.commit(served.met)
        self._commit = self._committing.submit(self._commit_served, served)

    def _commit_served(self, served: _Served) -> bool:
        """Commit a batch; whether it is known to be committed."""
        self._commit_watch.begin()
        try:
            committed = self._write(served.sealed, served.spent)
            if committed:
                self._install(served.update)
            else:
                self._tally.add(time.monotonic(), {"dropped_batches": 1})
        except BaseException:
            self._lane.abandon("a batch could not be committed; this process ends")
            raise
        finally:
            self._commit_watch.lap("commit")
            self._lane.done()
        return committed

    def _write(self, sealed: Sealed, spent: Mapping[str, int]) -> bool:
        if not self._lane.restore():
            if sealed.epoch == self._lane.epoch:
                # Its records must come again before any later batch is committed.
                self._lane.abandon("the transactional producer is not ready")
            return False
        committed = self._lane.commit(sealed.epoch, sealed.outgoing, sealed.through, sealed.revision)
        if committed:
            self._written_at = time.monotonic()
            self._link = sealed.link
            consumed, self._consumed = self._consumed, self._lane.cpu_micros
            stages = {"cpu:consume": self._consumed - consumed, **self._commit_watch.take()}
            self._tally.add(self._written_at, {**sealed.counts, **spent, **stages})
        elif self._lane.undecided:
            self._link = None
        return committed

    def _install(self, update: BreakerUpdate) -> None:
        if self._dispatcher.install(update):
            self._aborts.ask(self._serving().state)


def _keys(batch: RawBatch, requests: RequestColumns) -> ByteStrings:
    return batch.keys if len(requests) == len(batch) else batch.keys.at(requests.rows)


def _longest(names: ByteStrings) -> int:
    return int(names.lengths.max(initial=0))


def _provenance(state: State, signature: Signature | None) -> Provenance:
    return Provenance(
        rollout=state.name,
        revision=state.revision,
        arms=tuple(arm.name for arm in state.arms),
        models=tuple(chain_label(arm.chain) for arm in state.arms),
        outputs=signature.outputs if signature else (),
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
