"""The way of a request through a worker, batch by batch, in one thread.

    take(n+1):   decode, route, hand to the arms  →  commit n  →  wait for the arms, encode  →  n+1 is open
    settle():    commit what is open, when nothing else waits

So while a batch is at the models, the one before is committed. A batch has exactly one revision: the state is read
once, when it is taken.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from streamsplit.core.errors import ServiceError
from streamsplit.core.records import CONTROL, DeadLetter, RawBatch, RequestColumns, Routing, Signature
from streamsplit.core.rollout import Limits, State, chain_label
from streamsplit.core.routing import RoutingTable, route
from streamsplit.inference.arm import Arm
from streamsplit.inference.breakers import BreakerUpdate
from streamsplit.inference.dispatch import Dispatcher
from streamsplit.inference.flight import Flight
from streamsplit.inference.job import Job
from streamsplit.inference.waiting import Abandoned, ControlUnavailable
from streamsplit.kafka.lane import Lane
from streamsplit.kafka.transaction import Fenced
from streamsplit.service.breaker_abort import BreakerAbort
from streamsplit.service.sealing import Sealed, Sealer, Served
from streamsplit.service.stopwatch import Stopwatch
from streamsplit.service.tally import Tally
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
    batch: RawBatch
    requests: RequestColumns
    letters: list[DeadLetter]
    routing: Routing
    flight: Flight
    provenance: Provenance
    window_ms: int


@dataclass(frozen=True, slots=True)
class _Open:
    sealed: Sealed
    update: BreakerUpdate


class Splitter:
    """Serves batches and commits them. All methods but `stop` belong to one thread.

    Args:
        lane: Where batches come from and are committed.
        serving: The state to serve under, read once a batch.
        arms: The model processes.
        dispatcher: Hands batches to them.
        decoder: Reads requests.
        sealer: Writes records.
        tally: Counts.
        aborts: Takes a rollout back whose breaker is open here.
        stopwatch: Of the thread that serves.
    """

    def __init__(
        self,
        lane: Lane,
        serving: Callable[[], Serving],
        arms: WarmArms,
        *,
        dispatcher: Dispatcher,
        decoder: RequestDecoder,
        sealer: Sealer,
        tally: Tally,
        aborts: BreakerAbort,
        stopwatch: Stopwatch,
    ) -> None:
        self._stopwatch = stopwatch
        self._lane = lane
        self._serving = serving
        self._arms = arms
        self._dispatcher = dispatcher
        self._decoder = decoder
        self._sealer = sealer
        self._tally = tally
        self._aborts = aborts
        self._open: _Open | None = None
        self._table: tuple[State, RoutingTable] | None = None
        self._written_at = 0.0
        self._consumed = 0
        self._asked_at = float("-inf")
        self._pausing = threading.Event()
        self.problem: str | None = None

    def take(self, batch: RawBatch) -> None:
        """Serve a batch, committing the one before meanwhile; the batch stays open until the next or `settle`.

        Raises:
            Fenced: This process must end.
        """
        self._stopwatch.begin()
        try:
            if batch.epoch != self._lane.epoch:
                self.settle()
                self._drop()
                return
            under_way = self._prepare(batch)
            self.settle()
            self._open = self._finish(under_way)
            self.problem = None
        except Fenced:
            raise
        except ServiceError as error:
            self.settle()
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

    def settle(self) -> None:
        """Commit the open batch.

        Raises:
            Fenced: This process must end.
        """
        if self._open is None:
            return
        opened, self._open = self._open, None
        self._stopwatch.begin()
        try:
            if self._commit(opened.sealed):
                self._install(opened.update)
            else:
                self._tally.add(time.monotonic(), {"dropped_batches": 1})
        except BaseException:
            self._lane.abandon("a batch could not be committed; this process ends")
            raise
        finally:
            self._stopwatch.lap("commit")
            self._lane.done()

    def stop(self) -> None:
        """Wait no more before trying again; may be called by any thread."""
        self._pausing.set()

    @property
    def waiting(self) -> bool:
        """Whether a batch waits for its models, which have deadlines of their own; any thread may ask."""
        return time.monotonic() - self._asked_at < _WAITING_SECONDS

    def idle(self) -> None:
        """Several times a second: write a summary where none was lately, mend the transaction where it broke.

        Raises:
            Fenced: This process must end.
        """
        self.settle()
        self._arms.release()
        self._aborts.ask(self._serving().state)
        if time.monotonic() - self._written_at < _IDLE_SECONDS or not self._lane.restore():
            return
        state = self._serving().state
        self._commit(self._sealer.seal_idle(self._lane.progress(), _provenance(state, None), _now_ms()))

    def _drop(self) -> None:
        self._tally.add(time.monotonic(), {"dropped_batches": 1})
        self._lane.done()

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
        )
        assert control is not None
        flight = self._dispatcher.submit(job)
        self._stopwatch.lap("hand over")
        return _UnderWay(
            state,
            control,
            batch,
            requests,
            letters,
            routing,
            flight,
            _provenance(state, signature),
            int(1000 * (rollout.window_seconds if rollout else 5.0)),
        )

    def _read(
        self, batch: RawBatch, signature: Signature, table: RoutingTable
    ) -> tuple[RequestColumns, list[DeadLetter], Routing]:
        """Decode and route; requests whose id or unit no audit record could hold are dead letters."""
        requests, letters = self._decoder.decode(batch, Wanted(signature.inputs, table.attributes))
        self._stopwatch.lap("decode")
        routing = route(table, requests, _keys(batch, requests))
        self._stopwatch.lap("route")
        if _longest(requests.ids) <= LONGEST_NAME and _longest(routing.units) <= LONGEST_NAME:
            return requests, letters, routing
        names = zip(requests.ids, routing.units, strict=True)
        fitting = np.array([max(len(name), len(unit or b"")) <= LONGEST_NAME for name, unit in names])
        reason = f"its id or unit is longer than {LONGEST_NAME} bytes"
        letters += [DeadLetter(int(row), "decode", reason) for row in requests.rows[~fitting]]
        requests = requests.at(np.flatnonzero(fitting))
        return requests, letters, route(table, requests, _keys(batch, requests))

    def _routing_table(self, state: State) -> RoutingTable:
        if self._table is None or self._table[0] is not state:
            self._table = (state, RoutingTable.compile(state))
        return self._table[1]

    def _finish(self, under_way: _UnderWay) -> _Open:
        collected = under_way.flight.collect(lambda: self._still_wanted(under_way))
        self._stopwatch.lap("collect")
        served = Served(
            under_way.batch,
            under_way.requests,
            under_way.letters,
            under_way.routing,
            collected.predictions,
            under_way.provenance,
            under_way.window_ms,
        )
        return _Open(self._sealer.seal(served, self._lane.progress(), _now_ms()), collected.update)

    def _still_wanted(self, under_way: _UnderWay) -> bool:
        """Whether to wait on: an abort must not wait for a control that it has replaced and that does not come up."""
        self._asked_at = time.monotonic()
        if under_way.batch.epoch != self._lane.epoch:
            return False
        return under_way.control.status.ready or self._serving().state.serving == under_way.state.serving

    def _commit(self, sealed: Sealed) -> bool:
        if not self._lane.restore():
            if sealed.epoch == self._lane.epoch:
                # Its records must come again before any later batch is committed.
                self._lane.abandon("the transactional producer is not ready")
            return False
        committed = self._lane.commit(sealed.epoch, sealed.outgoing, sealed.through, sealed.revision)
        if committed:
            self._written_at = time.monotonic()
            consumed, self._consumed = self._consumed, self._lane.cpu_micros
            spent = {"cpu:consume": self._consumed - consumed, **self._stopwatch.take()}
            self._tally.add(self._written_at, {**sealed.counts, **spent})
        return committed

    def _install(self, update: BreakerUpdate) -> None:
        if self._dispatcher.install(update):
            self._aborts.ask(self._serving().state)


def _keys(batch: RawBatch, requests: RequestColumns) -> Sequence[bytes | None]:
    everything = len(requests) == len(batch)
    return batch.keys if everything else [batch.keys[row] for row in requests.rows.tolist()]


def _longest(names: Sequence[bytes | None]) -> int:
    return max(map(len, filter(None, names)), default=0)


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
