"""Scores of two models on the same requests, through the counts of workers and the evidence of the judge."""

import math

import numpy as np
from numpy.typing import NDArray

from simulations.wealth import ever, until, with_restarts, without_restarts
from streamsplit.core.evidence import bounded, paired_means
from streamsplit.core.guards import Direction, Score, ScoreGuard
from streamsplit.core.records import Outcome
from streamsplit.core.score_pairs import Scored, count_pairs

_ALPHA = 0.05
_SHARE = 0.1
"""Of control's mean: the margin."""

_GUARD = ScoreGuard(Score("probability"), margin=_SHARE, relative=True, direction=Direction.DROP)

Floats = NDArray[np.float64]


def alarms(
    generator: np.random.Generator, runs: int, windows: int, *, lower: float, promotion: bool = False, pairs: int = 20
) -> NDArray[np.bool_]:
    """A candidate whose mean is lower by a share of control's, on requests that are hard for both arms at times."""
    increments = _increments(generator, runs, windows, lower=lower, promotion=promotion, pairs=pairs)
    path = without_restarts if promotion else with_restarts
    return ever(path(increments, bounded.WEIGHTS), _ALPHA)


def found(
    generator: np.random.Generator, runs: int, *, lower: float, promotion: bool = False, pairs: int = 50
) -> Floats:
    """Mirrored requests until it is taken back, beside six e-processes that say nothing; or until it is promoted."""
    windows = 80
    increments = _increments(generator, runs, windows, lower=lower, promotion=promotion, pairs=pairs)
    log_e = (without_restarts if promotion else with_restarts)(increments, bounded.WEIGHTS)
    needed = math.log((1 if promotion else 7) / _ALPHA)
    return until(log_e >= needed, np.full((runs, windows), pairs))


def _increments(
    generator: np.random.Generator, runs: int, windows: int, *, lower: float, promotion: bool, pairs: int
) -> Floats:
    """What each window says: float64 (runs, windows, J)."""
    group = np.repeat(np.arange(runs), pairs)
    outcomes = np.full(len(group), Outcome.OK, np.int8)
    said = np.empty((runs, windows, len(bounded.WEIGHTS)))
    for window in range(windows):
        level = 2 + np.sin(2 * np.pi * window / 90)
        control = generator.beta(level, 4, len(group)) * 0.75
        # Both models see the same request: what they differ by is small beside what requests differ by.
        candidate = control * (1 - lower) * generator.uniform(0.6, 1.4, len(group))
        for run, counted in enumerate(count_pairs(Scored(_GUARD, control, candidate, outcomes), group, runs)):
            increment = paired_means.promote_increment if promotion else paired_means.rollback_increment
            said[run, window] = increment(counted.drop)
    return said
