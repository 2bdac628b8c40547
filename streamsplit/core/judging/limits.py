"""Absolute limits: looked at with every summary, whatever control does and though the window is still open."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.decision import Reading, Verdict
from streamsplit.core.evidence import limit
from streamsplit.core.evidence.restarts import Restarting
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.judging.latest import Latest, told
from streamsplit.core.judging.tried import Tried

ALPHA = 0.001
"""Of each limit."""

_NEEDED = -math.log(ALPHA)
_SLOW_SHARE = 0.01
"""`limit: 50ms` of the latency guard is a limit on the 99th percentile."""

_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(slots=True)
class _Limit:
    """One limit.

    `together`: the requests of a summary are bad together, as those of one slow run are. `told`: figures for people.
    `counted`: what is counted, in names of the latest counts.
    """

    guard: str
    share: float
    dry_run: bool
    together: bool
    told: Mapping[str, float]
    counted: str
    against: Restarting
    latest: Latest
    requests: int = 0
    bad: int = 0

    @property
    def log_e(self) -> float:
        return self.against.log_e

    def lately(self) -> Mapping[str, float]:
        """The latest stretch, where the rate of all requests does not show it."""
        latest = self.latest.beside(self.requests, self.log_e)
        if latest is None:
            return {}
        number, bad = latest
        return {**told(self.counted, number, bad / number), "latest_bad": bad}


class Limits:
    """The limits of one candidate.

    Args:
        arm: Its name.
        settings: Of the judge.
    """

    def __init__(self, arm: str, settings: JudgeSettings) -> None:
        self._arm = arm
        self._limits: dict[str, _Limit] = {}
        errors, latency = settings.errors, settings.latency
        if errors.limit is not None:
            self._set("error limit", errors.limit, dry_run=errors.dry_run)
            self._set("run limit", errors.limit, dry_run=errors.dry_run, counted="batches")
        if latency.limit_seconds is not None:
            told = {"limit_ms": 1000 * latency.limit_seconds}
            self._set("latency limit", _SLOW_SHARE, dry_run=latency.dry_run, together=True, told=told)

    def _set(
        self,
        guard: str,
        share: float,
        *,
        dry_run: bool,
        together: bool = False,
        told: Mapping[str, float] = _NOTHING,
        counted: str = "requests",
    ) -> None:
        # A start with every summary: what begins to fail late is found nearly as soon as what fails from the beginning.
        against, latest = Restarting(limit.WEIGHTS, every=1), Latest(len(limit.WEIGHTS), 2)
        self._limits[guard] = _Limit(guard, share, dry_run, together, told, counted, against, latest)

    def take(self, tried: Tried) -> None:
        """Add what a summary says."""
        counts, repeats = tried.counts, tried.repeats
        self._add("error limit", counts.requests - repeats, counts.errors - repeats)
        self._add("run limit", tried.batches, tried.failed)
        self._add("latency limit", counts.requests, min(counts.slow, counts.requests))

    def _add(self, guard: str, requests: int, bad: int) -> None:
        each = self._limits.get(guard)
        if each is not None and requests:
            said = _said(requests, bad, each.share, together=each.together)
            each.against.add(said)
            each.latest.add(said, (requests, bad))
            each.requests += requests
            each.bad += bad

    def exceeded(self) -> tuple[str, ...]:
        """Names of the limits that are surely exceeded."""
        return tuple(each.guard for each in self._limits.values() if not each.dry_run and each.against.reaches(_NEEDED))

    def readings(self) -> Sequence[Reading]:
        """Each limit, and the candidate's figure."""
        return tuple(
            Reading(
                guard=each.guard,
                arm=self._arm,
                verdict=Verdict.BAD if each.log_e >= _NEEDED else Verdict.OPEN,
                control=each.share,
                candidate=each.bad / each.requests if each.requests else None,
                unit="%",
                log_e=each.log_e,
                log_needed=_NEEDED,
                counts={"requests": each.requests, "bad": each.bad, **each.told, **each.lately()},
                dry_run=each.dry_run,
            )
            for each in self._limits.values()
        )

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            guard: {
                "against": each.against.to_plain(),
                "requests": each.requests,
                "bad": each.bad,
                "latest": each.latest.to_plain(),
            }
            for guard, each in self._limits.items()
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        for guard, each in self._limits.items():
            mine = plain[guard]
            each.against = Restarting.from_plain(mine["against"])
            each.requests, each.bad = int(mine["requests"]), int(mine["bad"])
            each.latest = Latest.from_plain(mine["latest"])


@functools.lru_cache(maxsize=4096)
def _said(requests: int, bad: int, share: float, *, together: bool) -> NDArray[np.float64]:
    """What a summary says: float64 (5,), not to be changed. Most summaries say what another one has said before."""
    return (limit.share_increment if together else limit.increment)(requests, bad, share)
