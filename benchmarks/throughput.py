"""Requests a second and CPU time of a request: StreamSplit, the pass-through and peers in turn, on the same records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.backlog import Backlog, Backlogs
from benchmarks.loads import Load
from benchmarks.peers import Peer
from benchmarks.recorded import Written
from benchmarks.rows import PASS_THROUGH, STREAMSPLIT, TIGHT, WITH_HEADERS, Case, Ledger, Row
from benchmarks.ruler import Span
from benchmarks.trials import Result, Trial, pass_through, peer, streamsplit
from streamsplit.core.errors import ServiceError, UsageError
from streamsplit.kafka.clients import Connection

MIRRORED = f"{STREAMSPLIT}, 20 % mirrored"
_UNSIZED = "nothing says how much to write: StreamSplit's own row failed"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        loads: The records; headers, mirroring and the tight pass-through are measured with the first.
        requests: Length of each backlog.
        repetitions: Of each row.
        batches: Most requests in a transaction; what is not StreamSplit and the pass-through is measured at the first.
        span: Which part of a backlog is measured.
        peers: Those that are there.
    """

    loads: Sequence[Load]
    requests: int
    repetitions: int
    batches: Sequence[int]
    span: Span
    peers: Sequence[Peer] = ()


@dataclass(slots=True)
class Measured:
    """Rows, and what is missing among them.

    Attributes:
        rows: In the order they were begun.
        left_out: Subject → why.
    """

    rows: tuple[Row, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Contender:
    """One row to be: who, and how to run a repetition of it under a name."""

    subject: str
    batch: int
    run: Callable[[str], Result]


class _Round:
    """All rows of one load."""

    def __init__(self, connection: Connection, backlogs: Backlogs, plan: Plan, load: Load) -> None:
        self._connection = connection
        self._plan = plan
        self._sizes: dict[int, Written] = {}
        self._plain = backlogs.of(load, plan.requests)
        self._with_headers = backlogs.of(load, plan.requests, headers=True) if load is plan.loads[0] else None

    def contenders(self, left_out: dict[str, str]) -> list[_Contender]:
        """Every row, StreamSplit first: the others write as much as it did."""
        found = []
        for batch in self._plan.batches:
            found.append(_Contender(STREAMSPLIT, batch, partial(self._streamsplit, batch)))
            found.append(_Contender(PASS_THROUGH, batch, partial(self._pass_through, batch)))
        batch = self._plan.batches[0]
        if (rich := self._with_headers) is not None:
            found.append(_Contender(TIGHT, batch, partial(self._pass_through, batch, tight=True)))
            found.append(
                _Contender(STREAMSPLIT + WITH_HEADERS, batch, lambda name: self._own(self._trial(name, rich, batch)))
            )
            found.append(
                _Contender(PASS_THROUGH + WITH_HEADERS, batch, partial(self._pass_through, batch, backlog=rich))
            )
            if (refused := _refused(self._plain.load)) is None:
                found.append(_Contender(MIRRORED, batch, partial(self._mirrored, batch)))
            else:
                left_out[MIRRORED] = refused
        found += [_Contender(each.title, batch, partial(self._peer, batch, each)) for each in self._plan.peers]
        return found

    def _trial(self, name: str, backlog: Backlog, batch: int, *, mirror: bool = False) -> Trial:
        return Trial(name, backlog, batch, self._plan.span, mirror=mirror)

    def _own(self, trial: Trial) -> Result:
        return streamsplit(self._connection, trial)

    def _streamsplit(self, batch: int, name: str) -> Result:
        result = self._own(self._trial(name, self._plain, batch))
        assert result.written is not None
        self._sizes[batch] = result.written
        return result

    def _mirrored(self, batch: int, name: str) -> Result:
        result = self._own(self._trial(name, self._plain, batch, mirror=True))
        if result.written is None or not result.written.mirrored_share:
            raise ServiceError("the audit speaks of no mirrored request")
        return result

    def _pass_through(self, batch: int, name: str, *, backlog: Backlog | None = None, tight: bool = False) -> Result:
        """With the headers of a backlog that has them."""
        trial = self._trial(name, backlog or self._plain, batch)
        return pass_through(self._connection, trial, self._size(batch), headers=backlog is not None, tight=tight)

    def _peer(self, batch: int, who: Peer, name: str) -> Result:
        trial = self._trial(name, self._plain, batch)
        return peer(self._connection, trial, self._size(batch), who)

    def _size(self, batch: int) -> Written:
        if batch not in self._sizes:
            raise ServiceError(_UNSIZED)
        return self._sizes[batch]


def measure(connection: Connection, backlogs: Backlogs, plan: Plan, tell: Callable[[str], None]) -> Measured:
    """Every row in turn, so often; every other time in the opposite order. A row that fails is left out from then on.

    Args:
        connection: The brokers.
        backlogs: What is worked off.
        plan: What is measured.
        tell: Told what came out.
    """
    ledger, measured = Ledger("throughput"), Measured()
    for load in plan.loads:
        contenders = _Round(connection, backlogs, plan, load).contenders(measured.left_out)
        for number in range(plan.repetitions):
            for contender in contenders if number % 2 == 0 else contenders[::-1]:
                if contender.subject not in measured.left_out:
                    case: Case = {"subject": contender.subject, "load": load.name, "batch": contender.batch}
                    _repeat(contender, case, f"{number}", ledger=ledger, left_out=measured.left_out, tell=tell)
    measured.rows = ledger.rows()
    return measured


def _repeat(
    contender: _Contender,
    case: Case,
    number: str,
    *,
    ledger: Ledger,
    left_out: dict[str, str],
    tell: Callable[[str], None],
) -> None:
    who = "".join(letter if letter.isalnum() else "-" for letter in contender.subject.lower())
    try:
        result = contender.run(f"bench-{case['load']}-{who}-{contender.batch}-{number}")
    except ServiceError as error:
        left_out[contender.subject] = f"failed: {error}"
        tell(f"{contender.subject} is left out: {error}")
        return
    ledger.add(case, result.figures())
    tell(
        f"{contender.subject}, {case['load']}, batches of {contender.batch}: {result.stretch.rate:,.0f} requests/s, "
        f"{result.stretch.cpu_micros:.1f} µs of CPU a request"
    )


def _refused(load: Load) -> str | None:
    """Why nothing can be mirrored; None where it can."""
    try:
        load.application(mirror=True)
    except UsageError as error:
        return str(error)
    return None
