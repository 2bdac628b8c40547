"""The guard of a score: the candidate's mean beside control's."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.decision import Reading
from streamsplit.core.evidence import bounded
from streamsplit.core.evidence.bins import Moments
from streamsplit.core.evidence.margin import Margin, directions_of, margins_of, refusal, zero_of
from streamsplit.core.evidence.mixture import Wealth
from streamsplit.core.evidence.restarts import Restarting
from streamsplit.core.guards import Direction, ScoreGuard
from streamsplit.core.judging.guard import CandidateWindow, Comparison, Needs, Process, Promise
from streamsplit.core.judging.latest import Latest, told
from streamsplit.core.judging.means import readings_of_means
from streamsplit.core.judging.words import MOST_CLIPPED

_LEAST_CONTROL = 1000
"""Control's values from which on a margin is held against them."""


class Scores:
    """The mean score of one candidate.

    Args:
        arm: Name of the candidate.
        settings: The guard.
    """

    def __init__(self, arm: str, settings: ScoreGuard) -> None:
        self._arm = arm
        self._settings = settings
        self._metric = f"{settings.score.output}[{settings.score.index}]"
        self._directions = directions_of(settings.direction)
        self._against = {each: Restarting(bounded.WEIGHTS) for each in self._directions}
        self._promise = {each: Wealth(bounded.WEIGHTS) for each in self._directions}
        self._margins = margins_of(settings)
        self._control, self._candidate = Moments(), Moments()
        self._latest = {each: Latest(len(bounded.WEIGHTS), 4) for each in self._directions}
        self._clipped = self._unscored = 0

    def begin_step(self) -> None:
        """Forget what speaks for the candidate."""
        for each in self._promise.values():
            each.forget()

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window."""
        against, before = np.zeros((len(self._margins), len(bounded.WEIGHTS))), self._sums()
        for each in window.doses:
            self._control.add(each.control_scores)
            self._candidate.add(each.candidate_scores)
            self._clipped += each.candidate.clipped
            self._unscored += each.candidate.unscored
            pairs = each.shuffles.of(self._metric).pairs(each.candidate_scores)
            bad, good = bounded.both_ways(np.stack([margin.difference(*pairs) for margin in self._margins], axis=1))
            against += bad
            if not each.in_step:
                continue
            if each.control.unscored or each.candidate.unscored:
                good = np.array([self._at_worst(each, margin) for margin in self._margins])
            for margin, increment in zip(self._margins, good, strict=True):
                self._promise[margin.direction].add(increment)
        for margin, increment in zip(self._margins, against, strict=True):
            self._against[margin.direction].add(increment)
            self._latest[margin.direction].add(increment, (self._sums() - before).tolist())

    def _sums(self) -> NDArray[np.int64]:
        """What the means are of: int64 (4,), values and sum of their bins, the candidate's and control's."""
        arms = (self._candidate, self._control)
        return np.array([part for each in arms for part in (each.number, each.places)], np.int64)

    def _at_worst(self, each: Comparison, margin: Margin) -> NDArray[np.float64]:
        """What a dose says for the candidate, with the worst value for each that is missing: float64 (8,)."""
        control = bounded.worst(each.control_scores, each.control.unscored, margin.direction)
        candidate = bounded.worst(each.candidate_scores, each.candidate.unscored, margin.direction)
        pairs = each.shuffles.fresh(self._metric, control).pairs(candidate)
        return bounded.in_favour(margin.difference(*pairs))

    def processes(self) -> Sequence[Process]:
        """One for each direction."""
        dry = self._settings.dry_run
        return tuple(Process(_name(each), self._against[each].log_e, dry) for each in self._directions)

    def promises(self) -> Sequence[Promise]:
        """One for each direction; all of them are needed."""
        dry = self._settings.dry_run
        return tuple(Promise(_name(each), self._promise[each].log_e, dry) for each in self._directions)

    def readings(self, needs: Needs, processes: Sequence[Process], promises: Sequence[Promise]) -> Sequence[Reading]:
        """Both means."""
        counts = {
            "control_scores": self._control.number,
            "candidate_scores": self._candidate.number,
            "clipped": self._clipped,
            "unscored": self._unscored,
        }
        return readings_of_means(
            self._arm,
            needs,
            processes,
            promises,
            control=self._mean(self._control),
            candidate=self._mean(self._candidate),
            held=self._refusal(),
            counts=({**counts, **self._lately(each)} for each in self._directions),
        )

    def _mean(self, values: Moments) -> float | None:
        """On the score's own scale."""
        score = self._settings.score
        return score.low + (score.high - score.low) * values.mean if values.number else None

    def _lately(self, direction: Direction) -> Mapping[str, float]:
        """The latest stretch, where the means of all values do not show it."""
        latest = self._latest[direction].beside(self._candidate.number, self._against[direction].log_e)
        if latest is None:
            return {}
        candidate, control = self._mean(Moments(*latest[:2])), self._mean(Moments(*latest[2:]))
        return {} if candidate is None else told("scores", latest[0], candidate, control)

    def _refusal(self) -> bool:
        """Whether the guard's settings say nothing about what came: a margin too wide, a range too narrow."""
        candidate = self._candidate.number
        if candidate >= _LEAST_CONTROL and self._clipped > MOST_CLIPPED * candidate:
            return True
        known = self._control.number >= _LEAST_CONTROL and not self._settings.relative
        return known and refusal(self._control, self._settings.margin, zero_of(self._settings)) is not None

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        return {
            "against": {each: self._against[each].to_plain() for each in self._directions},
            "promise": {each: self._promise[each].to_plain() for each in self._directions},
            "latest": {each: self._latest[each].to_plain() for each in self._directions},
            "control": astuple(self._control),
            "candidate": astuple(self._candidate),
            "clipped": self._clipped,
            "unscored": self._unscored,
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._against = {each: Restarting.from_plain(plain["against"][each]) for each in self._directions}
        self._promise = {each: Wealth.from_plain(bounded.WEIGHTS, plain["promise"][each]) for each in self._directions}
        self._latest = {each: Latest.from_plain(plain["latest"][each]) for each in self._directions}
        self._control, self._candidate = (Moments(*map(int, plain[arm])) for arm in ("control", "candidate"))
        self._clipped, self._unscored = int(plain["clipped"]), int(plain["unscored"])


def _name(direction: Direction) -> str:
    return f"score {direction}"
