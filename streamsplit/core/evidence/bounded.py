"""Means of values in [0, 1] of two arms, from histograms: a score, a business metric, a loss.

The values of a dose are put in pairs of x, control's, and y, the candidate's, by a shuffle that everybody can repeat.
Null hypotheses: rollback "the candidate's mean is within the margin of control's", promotion "it is outside". Per
direction, D is what a pair says for the candidate's being outside (`margin.py`), made to lie in [-1, 1]. A bet l has
`L_j += log(1 + l_j D)` to roll back, `log(1 - l_j D)` to promote: D has an expectation of at most 0, or at least 0,
under its null (betting, Waudby-Smith and Ramdas 2024, arXiv 2010.09686). A mean of several values has the same
expectation as one, so the larger arm is paired whole.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streamsplit.core.evidence.bins import Binned
from streamsplit.core.evidence.margin import Margin, directions_of
from streamsplit.core.evidence.mixture import uniform
from streamsplit.core.guards import Direction
from streamsplit.core.summary import SCORE_BINS

LAMBDAS = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
"""float64 (8,): the bets."""

WEIGHTS = uniform(len(LAMBDAS))
"""float64 (8,)."""

_BOTH_WAYS = np.concatenate((LAMBDAS, -LAMBDAS))

_MIDDLES = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS

_LOW = np.uint64(1023)
"""Bits of a random number that a bin takes the place of while both are sorted."""

_TOGETHER = 64
"""Factors, each from .1 to 1.9, whose product is within the range of floats."""


def generator(rollout: str, metric: str, window: int, rule: int, revision: int) -> np.random.PCG64:
    """The random numbers of one dose: its fields joined by zero bytes, SHA-256, read big-endian as the seed of PCG64.

    Args:
        rollout: Name of the rollout.
        metric: What is compared: two comparisons with the same name are shuffled alike.
        window: Its start, milliseconds since the epoch.
        rule: Index of the rule.
        revision: What the requests were served under.
    """
    text = "\0".join((rollout, metric, str(window), str(rule), str(revision)))
    return np.random.PCG64(int.from_bytes(hashlib.sha256(text.encode()).digest()))


def worst(bins: Mapping[int, int] | Binned, missing: int, direction: Direction) -> Binned:
    """The values of an arm with what has none at the value that looks worst, for promotion.

    Applied to both arms: "unanswered is worth nothing" is then part of the metric, and a candidate that leaves out
    what it is bad at is found out. To roll back, what has no value is left out: it counts as an error elsewhere.

    Args:
        bins: Bin → requests.
        missing: Requests that should have a value and have none; not negative.
        direction: `DROP`: the first bin, `RISE`: the last one.

    Raises:
        ValueError: The direction is not one of these two: each has pairs of its own.
    """
    if direction is Direction.EITHER:
        raise ValueError("expected the direction drop or rise, got either: what is missing is worst for one of them")
    binned = Binned.of(bins)
    return binned.and_at(0 if direction is Direction.DROP else SCORE_BINS - 1, missing) if missing else binned


class Shuffle:
    """A dose's values of control in random order, made once for all candidates, and the pairs of each candidate.

    The numbers for a candidate are those that follow control's, the same for each. So each of them is paired at random;
    what their evidence has in common matters to no test, as a mean of e-values may be of any that hang together.

    Args:
        control_bins: Bin, 0 to `SCORE_BINS` - 1 → control's requests.
        generator: Fresh, of this dose.

    Raises:
        ValueError: A bin or a count is none.
    """

    __slots__ = ("_control", "_generator", "_numbers")

    def __init__(self, control_bins: Mapping[int, int] | Binned, generator: np.random.PCG64) -> None:
        self._control = shuffled(control_bins, generator)
        self._generator = generator
        self._numbers = np.empty(0, np.uint64)

    def pairs(self, candidate_bins: Mapping[int, int] | Binned) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The pairs of a candidate: whole histograms, merged over all that counted, so that nobody's order matters.

        Args:
            candidate_bins: Bin → the candidate's requests.

        Returns:
            x and y, float64 (n,) in [0, 1], n the requests of the smaller arm; empty where an arm has none.

        Raises:
            ValueError: A bin or a count is none.
        """
        binned = Binned.of(candidate_bins)
        more = binned.number - len(self._numbers)
        if more > 0:
            self._numbers = np.concatenate((self._numbers, self._generator.random_raw(more)))
        candidate = _MIDDLES[_in_order_of(self._numbers[: binned.number], binned.values)]
        return dealt(self._control, candidate)


def shuffled(bins: Mapping[int, int] | Binned, generator: np.random.PCG64) -> NDArray[np.float64]:
    """The values of an arm, ascending bins' middles, in the stable order of as many 64-bit numbers of the generator.

    Two arms need one generator after another: the same numbers twice would pair by rank, which hides a pair's noise
    and raises false alarms. `numpy`'s own shuffles may change with its version; the numbers of PCG64 do not.

    Returns:
        float64 (n,).

    Raises:
        ValueError: A bin or a count is none.
    """
    binned = Binned.of(bins)
    return _MIDDLES[_in_order_of(generator.random_raw(binned.number), binned.values)]


def dealt(
    control: NDArray[np.float64], candidate: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pair two columns, of which the larger one is dealt round into as many groups as the smaller one has values.

    Args:
        control: float64 (n_a,), in random order.
        candidate: float64 (n_b,), in random order, independent of control's.

    Returns:
        x and y, float64 (n,), n the smaller number: a value, and a group's mean.
    """
    count = min(len(control), len(candidate))
    if not count:
        return np.empty(0), np.empty(0)
    return _group_means(control, count), _group_means(candidate, count)


def differences(x: NDArray[np.float64], y: NDArray[np.float64], margin: Margin) -> NDArray[np.float64]:
    """What each pair says for the candidate's being outside the margin: float64 (n,) in [-1, 1].

    Args:
        x: float64 (n,) in [0, 1], control's.
        y: float64 (n,) in [0, 1], the candidate's.
        margin: Of one direction.

    Raises:
        ValueError: A value is NaN or outside [0, 1].
    """
    if not all(values.min(initial=0.0) >= 0.0 and values.max(initial=0.0) <= 1.0 for values in (x, y)):
        raise ValueError("expected values from 0 to 1, got others; scale them over their declared range")
    return margin.difference(x, y)


def against(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """What they say against "the candidate's mean is within the margin": float64 (8,), for `WEIGHTS`."""
    return _said(differences, LAMBDAS)


def in_favour(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """What they say against "the candidate's mean is outside the margin": float64 (8,), for `WEIGHTS`."""
    return _said(differences, -LAMBDAS)


def both_ways(differences: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`against` and `in_favour` of several directions at once: float64 (d, 8) each, of differences (n, d)."""
    said = _said(differences, _BOTH_WAYS)
    return said[:, : len(LAMBDAS)], said[:, len(LAMBDAS) :]


def rollback_increment(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    margin: float,
    relative: bool,
    direction: Direction,
    zero: float = 0.0,
) -> dict[Direction, NDArray[np.float64]]:
    """What pairs say against "the candidate's mean is within the margin".

    Args:
        x: float64 (n,) in [0, 1], control's.
        y: float64 (n,) in [0, 1], the candidate's.
        margin: How far the means may be apart; not negative. On the scale of x or, where `relative`, a share of
            control's mean, which is below 1.
        relative: Which of the two `margin` is.
        direction: Which way it matters.
        zero: Where 0 of the values' own scale lies on that of x, `-low / (high - low)`; used where `relative`. At most
            0, since a share of a mean that may be negative means nothing.

    Returns:
        `DROP` or `RISE` or, for `EITHER`, both: an e-process each → float64 (8,), for `WEIGHTS`.

    Raises:
        ValueError: A value is NaN or outside [0, 1], or a setting is out of range.
    """
    margins = (Margin(margin, relative, each, zero) for each in directions_of(direction))
    return {each.direction: against(differences(x, y, each)) for each in margins}


def promote_increment(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    margin: float,
    relative: bool,
    direction: Direction,
    zero: float = 0.0,
) -> dict[Direction, NDArray[np.float64]]:
    """What pairs say against "the candidate's mean is outside the margin".

    For `EITHER` both of what is returned must be refuted. Where requests have no value each direction has pairs of its
    own (`worst`): ask for one direction at a time.

    Args:
        x: As in `rollback_increment`.
        y: As in `rollback_increment`.
        margin: As in `rollback_increment`.
        relative: As in `rollback_increment`.
        direction: As in `rollback_increment`.
        zero: As in `rollback_increment`.

    Returns:
        As `rollback_increment`.

    Raises:
        ValueError: A value is NaN or outside [0, 1], or a setting is out of range.
    """
    margins = (Margin(margin, relative, each, zero) for each in directions_of(direction))
    return {each.direction: in_favour(differences(x, y, each)) for each in margins}


def _in_order_of(numbers: NDArray[np.uint64], places: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`places[argsort(numbers, kind="stable")]`.

    Numbers that carry their bin in the lowest bits sort much faster than an order of them is found, and alike unless
    two of them have the same upper bits.
    """
    both = np.sort(numbers & ~_LOW | places)
    if ((both[1:] ^ both[:-1]) <= _LOW).any():
        return places[np.argsort(numbers, kind="stable")]
    return both & _LOW


def _said(differences: NDArray[np.float64], bets: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sum log(1 + l D)` of each bet l: float64 (..., b) for b bets and differences (n, ...)."""
    factors = np.multiply.outer(differences, bets)
    count = len(differences)
    if count <= _TOGETHER:
        return np.asarray(np.log1p(factors).sum(axis=0))
    factors += 1.0
    # one logarithm for the product of many
    return np.asarray(np.log(np.multiply.reduceat(factors, range(0, count, _TOGETHER), axis=0)).sum(axis=0))


def _group_means(values: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Value i goes to group i mod `groups`."""
    rounds, rest = divmod(len(values), groups)
    if rounds == 1 and not rest:
        return values
    # added round by round, so that the sums are the same wherever they are computed
    sums: NDArray[np.float64] = np.add.reduce(values[: rounds * groups].reshape(rounds, groups), axis=0)
    sums[:rest] += values[rounds * groups :]
    sums[:rest] /= rounds + 1
    sums[rest:] /= rounds
    return sums
