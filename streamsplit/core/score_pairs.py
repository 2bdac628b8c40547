"""Scores that two arms gave to the same requests, counted beside each other (`mirroring.ScorePairs`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.margin import margins_of
from streamsplit.core.guards import Direction, ScoreGuard
from streamsplit.core.merging import nothing
from streamsplit.core.mirroring import SCORE_PARTS, SCORE_STEPS, SCORE_UNIT, ScorePairs
from streamsplit.core.records import Outcome
from streamsplit.core.scores import scaled

_POINTS = SCORE_STEPS + 1

_Floats = NDArray[np.float64]
_Points = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Scored:
    """Mirrored requests of one candidate.

    Attributes:
        guard: Range, margin and directions.
        control: float64 (k,), control's scores, NaN for none.
        candidate: float64 (k,), the candidate's.
        outcomes: int8 (k,), `Outcome` codes of the candidate.
    """

    guard: ScoreGuard
    control: _Floats
    candidate: _Floats
    outcomes: NDArray[np.int8]


def count_pairs(scored: Scored, group: NDArray[np.int64], groups: int) -> list[ScorePairs]:
    """Count scores by group.

    A request to which neither arm gave a score, and one that the candidate could not be asked, counts nowhere.

    Args:
        scored: The scores.
        group: int64 (k,), which group each request belongs to.
        groups: How many there are.
    """
    score, candidate = scored.guard.score, scored.candidate
    x, y = scaled(score, scored.control), scaled(score, candidate)
    unknown = np.isnan(x + y)
    clipped = (candidate < score.low) | (candidate > score.high)
    if not unknown.any():
        return _of_both(scored.guard, x, y, clipped, _Grouping(group, groups))
    known = ~unknown
    both = _of_both(scored.guard, x[known], y[known], clipped[known], _Grouping(group[known], groups))
    asked = (scored.outcomes != Outcome.FALLBACK_LOADING) & (scored.outcomes != Outcome.FALLBACK_STALE)
    one = (np.isnan(x) != np.isnan(y)) & asked
    alone = _of_one(scored.guard, x[one], y[one], _Grouping(group[one], groups))
    return [each + other for each, other in zip(both, alone, strict=True)]


@dataclass(frozen=True, slots=True)
class _Grouping:
    """Which group, of how many, each request belongs to: int64 (k,)."""

    group: NDArray[np.int64]
    groups: int

    def sums(self, values: NDArray[np.generic]) -> list[int]:
        """Sum of whole numbers, or of truths, by group."""
        if self.groups == 1:
            return [int(values.sum())]
        found: list[int] = np.bincount(self.group, values, self.groups).astype(np.int64).tolist()
        return found

    def points(self, places: _Floats) -> list[_Points]:
        """Point → parts by group, of places float64 (k,) from 0 to `SCORE_STEPS`."""
        below = places.astype(np.int64)
        above = np.rint((places - below) * SCORE_PARTS)
        cells, length = below if self.groups == 1 else below + self.group * _POINTS, self.groups * _POINTS
        moved = np.bincount(cells, above, length).astype(np.int64)
        parts = np.bincount(cells, minlength=length) * SCORE_PARTS - moved
        parts[1:] += moved[:-1]
        found = np.flatnonzero(parts)
        numbers, counts = found % _POINTS, parts[found].tolist()
        if self.groups == 1:
            return [dict(zip(numbers.tolist(), counts, strict=True))]
        ends = np.searchsorted(found, np.arange(self.groups + 1) * _POINTS).tolist()
        columns = list(zip(numbers.tolist(), counts, strict=True))
        return [dict(columns[start:end]) for start, end in pairwise(ends)]


def _of_both(
    guard: ScoreGuard, x: _Floats, y: _Floats, clipped: NDArray[np.bool_], grouping: _Grouping
) -> list[ScorePairs]:
    """Requests to which both arms gave a score."""
    columns = zip(
        grouping.sums(np.ones(len(x), np.int64)),
        grouping.sums(clipped),
        *(grouping.sums(np.rint(each * SCORE_UNIT)) for each in (x, y, x * x)),
        *(_points(guard, direction, x, y, grouping) for direction in (Direction.DROP, Direction.RISE)),
        strict=True,
    )
    return [
        ScorePairs(scored, outside, 0, control, candidate, squares, drop, rise)
        for scored, outside, control, candidate, squares, drop, rise in columns
    ]


def _of_one(guard: ScoreGuard, x: _Floats, y: _Floats, grouping: _Grouping) -> list[ScorePairs]:
    """Requests to which one arm alone gave a score: the missing one, whosever it is, is worth the worst value."""
    columns = zip(
        grouping.sums(np.ones(len(x), np.int64)),
        _points(guard, Direction.DROP, np.nan_to_num(x), np.nan_to_num(y), grouping),
        _points(guard, Direction.RISE, np.nan_to_num(x, nan=1.0), np.nan_to_num(y, nan=1.0), grouping),
        strict=True,
    )
    return [ScorePairs(unscored=count, drop_unscored=drop, rise_unscored=rise) for count, drop, rise in columns]


def _points(guard: ScoreGuard, direction: Direction, x: _Floats, y: _Floats, grouping: _Grouping) -> list[_Points]:
    for margin in margins_of(guard):
        if margin.direction is direction:
            return grouping.points((margin.outside(x, y) / margin.scale + 1.0) * (SCORE_STEPS / 2))
    return [nothing()] * grouping.groups
