"""The guard of a score on mirrored requests, to which control and the candidate both gave one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamsplit.core.decision import Reading
from streamsplit.core.evidence import bounded, paired_means
from streamsplit.core.evidence.margin import directions_of, refusal_beside, zero_of
from streamsplit.core.evidence.mixture import Wealth
from streamsplit.core.evidence.restarts import Restarting
from streamsplit.core.guards import Direction, ScoreGuard
from streamsplit.core.judging.guard import CandidateWindow, Needs, Process, Promise, Source
from streamsplit.core.judging.latest import Latest, told
from streamsplit.core.judging.means import readings_of_means
from streamsplit.core.judging.words import MOST_CLIPPED
from streamsplit.core.merging import merged
from streamsplit.core.mirroring import NO_SCORES, SCORE_UNIT, ScorePairs

_LEAST_PAIRS = 1000
"""Pairs from which on the settings are held against them."""


class MirroredScores:
    """The mean score of one candidate on mirrored requests.

    Args:
        arm: Name of the candidate.
        settings: The guard of the score, whose margin holds here too; workers have counted by it.
    """

    def __init__(self, arm: str, settings: ScoreGuard) -> None:
        self._arm = arm
        self._settings = settings
        self._directions = directions_of(settings.direction)
        self._against = {each: Restarting(bounded.WEIGHTS) for each in self._directions}
        self._promise = {each: Wealth(bounded.WEIGHTS) for each in self._directions}
        self._latest = {each: Latest(len(bounded.WEIGHTS), 3) for each in self._directions}
        self._total = NO_SCORES

    def begin_step(self) -> None:
        """Forget what speaks for the candidate."""
        for each in self._promise.values():
            each.forget()

    def take(self, window: CandidateWindow) -> None:
        """Add a closed window."""
        against = {each: np.zeros(len(bounded.WEIGHTS)) for each in self._directions}
        before = self._sums()
        for each in window.pairs:
            scores, in_step = each.counts.scores, each.revision in window.step_revisions
            self._total += scores.without_points()
            for direction in self._directions:
                both, one = _points(scores, direction)
                against[direction] += paired_means.rollback_increment(both)
                if in_step:
                    self._promise[direction].add(paired_means.promote_increment(merged(both, one)))
        for direction, increment in against.items():
            self._against[direction].add(increment)
            self._latest[direction].add(increment, [now - was for now, was in zip(self._sums(), before, strict=True)])

    def _sums(self) -> tuple[int, int, int]:
        """What the means are of: pairs, and the sums of their scores, the candidate's and control's."""
        return self._total.scored, self._total.candidate, self._total.control

    def processes(self) -> Sequence[Process]:
        """One for each direction."""
        dry = self._settings.dry_run
        return tuple(Process(_name(each), self._against[each].log_e, dry) for each in self._directions)

    def promises(self) -> Sequence[Promise]:
        """One for each direction; all of them are needed."""
        dry = self._settings.dry_run
        return tuple(Promise(_name(each), self._promise[each].log_e, dry, Source.MIRRORED) for each in self._directions)

    def readings(self, needs: Needs, processes: Sequence[Process], promises: Sequence[Promise]) -> Sequence[Reading]:
        """Both means."""
        scored, candidate, control = self._sums()
        counts = {
            "candidate_scores": scored,
            "clipped": self._total.clipped,
            "unscored": self._total.unscored,
        }
        return readings_of_means(
            self._arm,
            needs,
            processes,
            promises,
            control=self._mean(control, scored),
            candidate=self._mean(candidate, scored),
            held=self._refused(),
            counts=({**counts, **self._lately(each)} for each in self._directions),
        )

    def _lately(self, direction: Direction) -> Mapping[str, float]:
        """The latest stretch, where the means of all pairs do not show it."""
        latest = self._latest[direction].beside(self._total.scored, self._against[direction].log_e)
        if latest is None:
            return {}
        candidate, control = (self._mean(each, latest[0]) for each in latest[1:])
        return {} if candidate is None else told("scores", latest[0], candidate, control)

    def _mean(self, total: int, scored: int) -> float | None:
        """On the score's own scale."""
        score = self._settings.score
        return score.low + (score.high - score.low) * total / scored / SCORE_UNIT if scored else None

    def _refused(self) -> bool:
        """Whether the guard's settings say nothing about what came: a margin too wide, a range too narrow."""
        total, settings = self._total, self._settings
        if total.scored < _LEAST_PAIRS:
            return False
        if total.clipped > MOST_CLIPPED * total.scored:
            return True
        if settings.relative:
            return False
        mean, square = (each / total.scored / SCORE_UNIT for each in (total.control, total.squares))
        spread = math.sqrt(max(0.0, square - mean * mean))
        return refusal_beside(mean, spread, settings.margin, zero_of(settings)) is not None

    def to_plain(self) -> Mapping[str, Any]:
        """As JSON can hold it, exactly."""
        total = self._total
        return {
            "against": {each: self._against[each].to_plain() for each in self._directions},
            "promise": {each: self._promise[each].to_plain() for each in self._directions},
            "latest": {each: self._latest[each].to_plain() for each in self._directions},
            "total": [total.scored, total.clipped, total.unscored, total.control, total.candidate, total.squares],
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Take over a state that `to_plain` gave."""
        self._against = {each: Restarting.from_plain(plain["against"][each]) for each in self._directions}
        self._promise = {each: Wealth.from_plain(bounded.WEIGHTS, plain["promise"][each]) for each in self._directions}
        self._latest = {each: Latest.from_plain(plain["latest"][each]) for each in self._directions}
        scored, clipped, unscored, control, candidate, squares = map(int, plain["total"])
        self._total = ScorePairs(scored, clipped, unscored, control, candidate, squares)


def _points(scores: ScorePairs, direction: Direction) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """Those of pairs with both scores, and of those with one."""
    if direction is Direction.DROP:
        return scores.drop, scores.drop_unscored
    return scores.rise, scores.rise_unscored


def _name(direction: Direction) -> str:
    return f"mirrored score {direction}"
