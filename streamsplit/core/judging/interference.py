"""The guard of interference: control beside its own level before the rollout.

A candidate that starves the machine makes control fail as well, and no comparison of the two sees it. What this finds
speaks neither for nor against a candidate: other requests, or something else on the machine, may be the cause as well.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.decision import Reading, Verdict
from streamsplit.core.evidence import level as evidence
from streamsplit.core.evidence.restarts import Restarting
from streamsplit.core.guards import ErrorGuard
from streamsplit.core.judging.baseline import CONTROL, Level

NAME = "interference"

ALPHA = 0.001
"""Half of it for the level, half for what comes after."""

LEAST_REQUESTS = 200
"""With fewer before the rollout nothing is said."""

_NEEDED = math.log(2.0 / ALPHA)

_HELD_WINDOWS = 20
"""For so long the rollout is held after the evidence was last enough."""

_DECAY = 2.0 ** (-1 / 5)
"""Half-life of 5 windows, of the rate that people are shown."""


@dataclass(frozen=True, slots=True)
class RouteCounts:
    """The requests of one route in one window, under one revision.

    Attributes:
        revision: What they were served under.
        share: Control's share of the route, from 0 to 1.
        requests: Requests of control.
        errors: Those that failed, each failing unit once.
        others: Requests of candidates.
    """

    revision: int
    share: float
    requests: int
    errors: int
    others: int


class Interference:
    """Control's errors, beside its level.

    Args:
        settings: The guard of errors, which says what is tolerated.
        level: Control's, before the rollout.
        since: Revision from which on candidates answer.
        sticky: Whether a unit has many requests: a few users may make all of the difference, so it only shows.
    """

    def __init__(self, settings: ErrorGuard, level: Level, since: int, *, sticky: bool) -> None:
        self.level = level
        self.since = since
        self._dry_run = settings.dry_run or sticky
        self._most = evidence.upper_bound(level.requests, level.errors, ALPHA / 2, level.scatter)
        self._tolerated = settings.rollback_ratio * self._most + settings.rollback_floor
        self._against = Restarting(evidence.WEIGHTS)
        self._totals = [0, 0]
        self._recent = [0.0, 0.0]
        self._held = 0
        self._found = 0.0

    @property
    def log_e(self) -> float | None:
        """Of the e-value; None where the level is not known well enough to say anything."""
        return self._against.log_e if self._speaks else None

    @property
    def _speaks(self) -> bool:
        return self.level.requests >= LEAST_REQUESTS and 0.0 < self._tolerated < 1.0

    def take(self, routes: Iterable[RouteCounts]) -> None:
        """Add a closed window, without what is a model's warm-up; each once, in order."""
        counted = [each for each in routes if each.revision >= self.since and each.requests + each.others]
        said = np.zeros(len(evidence.WEIGHTS))
        for revision in sorted({each.revision for each in counted}):
            said += self._said([each for each in counted if each.revision == revision])
        sums = (sum(each.requests for each in counted), sum(each.errors for each in counted))
        self._totals = [total + new for total, new in zip(self._totals, sums, strict=True)]
        self._recent = [_DECAY * total + new for total, new in zip(self._recent, sums, strict=True)]
        self._bet(said)

    def _bet(self, said: NDArray[np.float64]) -> None:
        """Add evidence.

        What goes beyond what is needed is thrown away, which no e-process minds: else an hour in which control failed
        would take several in which it does not until that is seen.
        """
        beyond = self._against.peek(said) - _NEEDED
        self._against.add(said - max(0.0, beyond))
        self._held = max(0, self._held - 1)
        if beyond >= 0.0 and said.any():  # where control answers nothing, what was found before holds nothing for ever
            self._held, self._found = _HELD_WINDOWS, self._recent[1] / self._recent[0]

    def _said(self, routes: Sequence[RouteCounts]) -> NDArray[np.float64]:
        """Of one revision.

        Before the rollout control met all requests. Of each route as large a part counts as of the one of which control
        has least, so that together they are a sample of all requests. A route that control has nothing of counts as if
        it had not failed there: it cannot have done better.
        """
        said = np.zeros(len(evidence.WEIGHTS))
        least = min((each.share for each in routes if each.share), default=0.0)
        if not self._speaks or not least:
            return said
        for each in routes:
            part = least / each.share if each.share else least
            requests = each.requests if each.share else each.others
            said += evidence.increment(requests, min(each.errors, requests), self._tolerated, part)
        return said / self.level.scatter

    def reading(self) -> Reading:
        """Control's rate of late, and before."""
        (requests, errors), (recent, failed) = self._totals, self._recent
        log_e, level = self.log_e, self.level
        before = level.errors / level.requests if level.requests else None
        now = failed / recent if recent else None
        return Reading(
            guard=NAME,
            arm=CONTROL,
            verdict=Verdict.HELD if self._held else Verdict.OPEN,
            control=before,
            candidate=now,
            unit="%",
            effect=now / before if before and now is not None else None,
            log_e=log_e,
            log_needed=_NEEDED if log_e is not None else None,
            counts={
                "before_requests": level.requests,
                "before_errors": level.errors,
                "before_scatter": level.scatter,
                "before_at_most": self._most,
                "tolerated": min(self._tolerated, 1.0),
                "control_requests": requests,
                "control_errors": errors,
                "found": self._found,
                "windows_held": self._held,
            },
            dry_run=self._dry_run,
        )

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            "level": [self.level.requests, self.level.errors, self.level.scatter],
            "since": self.since,
            "against": self._against.to_plain(),
            "totals": self._totals,
            "recent": self._recent,
            "held": self._held,
            "found": self._found,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], settings: ErrorGuard, *, sticky: bool) -> "Interference":
        """What `to_plain` gave.

        Raises:
            ValueError, KeyError, TypeError: It is no such state.
        """
        requests, errors, scatter = plain["level"]
        level = Level(int(requests), int(errors), float(scatter))
        guard = cls(settings, level, int(plain["since"]), sticky=sticky)
        guard._against = Restarting.from_plain(plain["against"])
        guard._totals = [int(number) for number in plain["totals"]]
        guard._recent = [float(number) for number in plain["recent"]]
        guard._held, guard._found = int(plain["held"]), float(plain["found"])
        return guard


def level_told(readings: Iterable[Reading]) -> Level | None:
    """Control's level before a rollout, as the readings of one of its decisions tell it; None where they do not."""
    for each in readings:
        names = ("before_requests", "before_errors", "before_scatter")
        requests, errors, scatter = (each.counts.get(name, math.nan) for name in names)
        if each.guard == NAME and 0 <= errors <= requests < math.inf and 1 <= scatter < math.inf:
            return Level(int(requests), int(errors), scatter)
    return None
