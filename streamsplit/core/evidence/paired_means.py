"""Means of bounded values that two arms gave to the same requests (mirrored traffic).

Null hypotheses, D and bets as in `bounded`: rollback `E[D] <= 0`, promotion `E[D] >= 0`, of each pair given all that
came before. A pair needs no partner to be drawn for it, so nothing is shuffled; D is linear in x and y, so whatever the
two answers to one request have in common does no harm.

Pairs arrive as points and parts (`mirroring.ScorePairs`): one that lies between two points counts at both, so that the
mean of what it counts is D but for half a part. What is added is the line between the two points, at D moved by one
part against whom the bet is for:

    p(k) log(1 + l (g(k) - s)) + p(k + 1) log(1 + l (g(k + 1) - s)) <= log(1 + l D)      g(k) = 2k / 1000 - 1, s = 2e-6

for p(k) + p(k + 1) = 1, since log is concave and rises, and the mean of g is at most D + s / 2. So each factor is at
most that of the pair itself, whatever D is: what is an e-process without points is one with them. For a promotion the
signs are turned. It costs at most `(.002 l)^2 / 8 / (1 - l)^2` a pair, at the far end, and 4e-7 near D = 0.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.bounded import LAMBDAS
from streamsplit.core.mirroring import SCORE_PARTS, SCORE_STEPS

_AT = np.arange(SCORE_STEPS + 1) * (2.0 / SCORE_STEPS) - 1.0
_PART = 2.0 / SCORE_STEPS / SCORE_PARTS
_AGAINST = np.log1p(np.multiply.outer(_AT - _PART, LAMBDAS)) / SCORE_PARTS
_FOR = np.log1p(np.multiply.outer(-_AT - _PART, LAMBDAS)) / SCORE_PARTS


def rollback_increment(points: Mapping[int, int]) -> NDArray[np.float64]:
    """What pairs say against "the candidate's mean is within the margin".

    Args:
        points: Point → parts, of pairs that have both values; of one dose or of many, it makes no difference.

    Returns:
        float64 (8,), for `bounded.WEIGHTS`.

    Raises:
        ValueError: A point or a number of parts is none.
    """
    return _increment(points, _AGAINST)


def promote_increment(points: Mapping[int, int]) -> NDArray[np.float64]:
    """What pairs say against "the candidate's mean is outside the margin".

    Args:
        points: As in `rollback_increment`, and of pairs in which one value is missing, with the worst value for it.

    Returns:
        As `rollback_increment`.

    Raises:
        ValueError: A point or a number of parts is none.
    """
    return _increment(points, _FOR)


def _increment(points: Mapping[int, int], table: NDArray[np.float64]) -> NDArray[np.float64]:
    parts = np.zeros(SCORE_STEPS + 1)
    for point, count in points.items():
        if not 0 <= point <= SCORE_STEPS or count < 0:
            raise ValueError(f"expected points from 0 to {SCORE_STEPS} with parts from 0, got {count} at {point}")
        parts[point] = count
    found = np.flatnonzero(parts)
    # Column by column, one after another: the sums are the same wherever they are computed.
    return np.asarray((parts[found, np.newaxis] * table[found]).sum(axis=0))
