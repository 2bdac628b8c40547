"""What a worker says of itself: put together from its parts, once a second and at every change."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from streamsplit.core.status import ArmStatus, Status, UnitStatus
from streamsplit.kafka.control_follower import ControlView
from streamsplit.kafka.lane import Progress
from streamsplit.service.tally import Tally

STUCK_SECONDS = 30.0
"""Records wait, and nothing is committed for so long: something has stopped."""


@dataclass(slots=True)
class Incarnation:
    """This process among those that had its slot before.

    Attributes:
        slot: Static name.
        name: A new one for each process.
        started_ms: Milliseconds since the epoch.
    """

    slot: str
    name: str
    started_ms: int

    @classmethod
    def now(cls, slot: str) -> "Incarnation":
        """A new one."""
        return cls(slot, uuid.uuid4().hex[:12], time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a report is made of.

    Attributes:
        view: Of the control log.
        arms: The state's arms here.
        unprepared: Why not all of them are warm.
        progress: Of the lane; None before it has started.
        startup: What the start waits for; empty once it is done.
        problems: What else an operator should know.
        judging: Whether it is the judge now.
        units: Of sticky units; None where there are none.
    """

    view: ControlView
    arms: tuple[ArmStatus, ...]
    unprepared: Sequence[str]
    progress: Progress | None
    startup: Sequence[str]
    problems: Sequence[str]
    judging: bool = False
    units: UnitStatus | None = None


class Stall:
    """Notices that records wait while nothing moves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._positions: dict[int, int] = {}
        self._moved_at = clock()

    def reason(self, progress: Progress | None) -> str | None:
        """Why the worker is stuck, or None."""
        now = self._clock()
        waiting = {number for number, lag in progress.lag.items() if lag > 0} if progress is not None else set()
        positions = dict(progress.reading) if progress is not None else {}
        if not waiting or positions != self._positions:
            self._positions, self._moved_at = positions, now
            return None
        if now - self._moved_at < STUCK_SECONDS:
            return None
        return (
            f"partitions {', '.join(map(str, sorted(waiting)))} have records waiting, and nothing has been committed "
            f"for {now - self._moved_at:.0f} s"
        )


def unready(parts: Parts) -> tuple[str, ...]:
    """Why the worker does not serve; empty when it does."""
    reasons = list(parts.startup)
    view = parts.view
    if view.state.newer_format:
        reasons.append(
            f"the control log holds a command of format {view.state.newer_format}, which this version does not know: "
            "upgrade this worker"
        )
    if view.problem is not None:
        reasons.append(view.problem)
    elif view.caught_up and not view.fresh:
        reasons.append("the end of the control log cannot be confirmed: control answers all requests")
    if parts.progress is not None:
        if parts.progress.problem is not None:
            reasons.append(parts.progress.problem)
        control = parts.arms[0] if parts.arms else None
        if control is not None and control.phase != "ready":
            reasons.append(f"control ({control.model}) is {control.phase}: {control.reason}")
    return tuple(reasons)


def compose(incarnation: Incarnation, parts: Parts, tally: Tally, now: float, *, stopping: bool) -> Status:
    """The status of this moment.

    Args:
        incarnation: Who it is.
        parts: Its parts.
        tally: What it has done.
        now: Monotonic seconds.
        stopping: Whether it leaves.
    """
    names = [arm.name for arm in parts.view.state.arms]
    view, progress = parts.view, parts.progress
    not_ready = unready(parts)
    held_back = tuple(wait.reason for wait in progress.waiting.values() if wait.alarm) if progress else ()
    reasons = dict.fromkeys([*not_ready, *parts.unprepared, *parts.problems, *held_back])
    return Status(
        slot=incarnation.slot,
        incarnation=incarnation.name,
        started_ms=incarnation.started_ms,
        written_ms=time.time_ns() // 1_000_000,
        version=version("streamsplit"),
        revision=view.state.revision,
        digest=view.digest,
        phase=view.state.phase.value,
        ready=not not_ready and progress is not None and not stopping,
        prepared=not parts.unprepared and bool(parts.arms),
        reasons=tuple(reasons),
        reading=dict(progress.reading) if progress else {},
        lag=dict(progress.lag) if progress else {},
        waiting={number: wait.reason for number, wait in progress.waiting.items()} if progress else {},
        arms=parts.arms,
        rates=tally.rates(now, {"requests": "requests", **{f"arm:{name}": name for name in names}}),
        failed=tally.rates(now, {f"failed:{name}": name for name in names}),
        mirrored=_of_mirror(tally, now, names, "mirrored"),
        mirror_failed=_of_mirror(tally, now, names, "mirror_failed"),
        totals=tally.totals(),
        judging=parts.judging,
        units=parts.units,
        stopping=stopping,
    )


def _of_mirror(tally: Tally, now: float, names: Sequence[str], word: str) -> dict[str, float]:
    """Rates of the candidates that something was mirrored to lately."""
    rates = tally.rates(now, {f"{word}:{name}": name for name in names})
    return {name: rate for name, rate in rates.items() if rate}
