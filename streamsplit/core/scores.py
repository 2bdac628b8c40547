"""The number of each answer that a rollout's score guards look at, and how it is counted."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.guards import JudgeSettings, Score
from streamsplit.core.records import Outcome, Predictions, Routing
from streamsplit.core.summary import SCORE_BINS

_NUMBERS = "biuf"
"""Kinds of numpy's dtypes that are numbers."""
_SPAN = 8
"""Values beyond so many times their number are sorted instead of counted."""


def judged_score(judge: JudgeSettings) -> Score | None:
    """The number that both score guards look at; None: there is no such guard."""
    guard = judge.score or judge.shift
    return guard.score if guard is not None else None


def scores_of(score: Score, outputs: NDArray[np.generic] | None, rows: int) -> NDArray[np.float64]:
    """The score of each answer: float64 (m,), not cut to its range; NaN where the output has no such number.

    Args:
        score: Which number.
        outputs: (m, *shape), the output of that name; None: there is none.
        rows: Number of answers (m).
    """
    if outputs is None or not rows or outputs.dtype.kind not in _NUMBERS:
        return np.full(rows, np.nan)
    flat = outputs.reshape(rows, -1)
    if not 0 <= score.index < flat.shape[1]:
        return np.full(rows, np.nan)
    return flat[:, score.index].astype(np.float64)


def scores_of_arms(score: Score, routing: Routing, predictions: Predictions) -> NDArray[np.float64]:
    """The score that each request got from its own arm: float64 (m,), NaN where that arm gave none."""
    scores = scores_of(score, predictions.outputs.get(score.output), len(routing.arms))
    scores[predictions.served_by != routing.arms] = np.nan
    return scores


def scaled(score: Score, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores clipped to their range and brought to [0, 1]; NaN stays."""
    # In halves and clipped first: neither a range as wide as floats go nor an infinity may overflow.
    low, high = score.low / 2, score.high / 2
    places = np.clip(scores, score.low, score.high)
    places /= 2
    places -= low
    places /= high - low
    return places


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """Scores of some groups of requests.

    Attributes:
        bins: For each group bin → requests, bins ascending; only those that occurred.
        clipped: For each group the requests whose score lay outside its range.
        unscored: For each group those without a score, though their arm was asked for one.
    """

    bins: list[dict[int, int]]
    clipped: list[int]
    unscored: list[int]


def count_scores(
    score: Score, scores: NDArray[np.float64], outcomes: NDArray[np.int8], group: NDArray[np.int64], groups: int
) -> ScoreCounts:
    """Count scores by group, in `SCORE_BINS` bins of equal width over the score's range.

    Args:
        score: The range.
        scores: float64 (m,), NaN for none.
        outcomes: int8 (m,), `Outcome` codes.
        group: int64 (m,), which group each request belongs to.
        groups: How many there are.
    """
    bins: list[dict[int, int]] = [{} for _ in range(groups)]
    clipped = unscored = [0] * groups
    inside = (scores >= score.low) & (scores <= score.high)
    if not inside.all():
        missing = np.isnan(scores)
        asked = (outcomes != Outcome.FALLBACK_LOADING) & (outcomes != Outcome.FALLBACK_STALE)
        unscored = np.bincount(group[missing & asked], minlength=groups).tolist()
        clipped = np.bincount(group[~inside & ~missing], minlength=groups).tolist()
        scores, group = scores[~missing], group[~missing]
    if not len(scores):
        return ScoreCounts(bins, clipped, unscored)
    places = np.minimum((scaled(score, scores) * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    places += group * SCORE_BINS
    cells, counts = _counted(places)
    ends = np.searchsorted(cells, np.arange(groups + 1) * SCORE_BINS).tolist()
    for at, (start, end) in enumerate(pairwise(ends)):
        numbers = (cells[start:end] - at * SCORE_BINS).tolist()
        bins[at] = dict(zip(numbers, counts[start:end].tolist(), strict=True))
    return ScoreCounts(bins, clipped, unscored)


def _counted(cells: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct values, ascending, and how often each occurs; small ones are counted instead of sorted."""
    if int(cells.max()) > _SPAN * len(cells):
        return np.unique(cells, return_counts=True)
    counts = np.bincount(cells)
    found = np.flatnonzero(counts)
    return found, counts[found]
