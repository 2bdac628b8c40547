"""The ratio test of error rates: its published numbers, its null by exact enumeration, and what adds to what."""

import math
from functools import reduce
from itertools import combinations, pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamsplit.core.evidence import errors
from streamsplit.core.evidence.errors import CountColumns, Counts
from streamsplit.core.evidence.mixture import log_mean, log_means, uniform

DOSES = (Counts(900, 9, 100, 4), Counts(750, 7, 250, 6), Counts(250, 3, 750, 20))
ERROR_FREE = (Counts(9000, 0, 1000, 0),) * 4
ROUNDING = 1e-9

RATES = st.floats(0.0, 1.0)
RATIOS = st.floats(0.2, 5.0)
FLOORS = st.floats(0.0, 0.3)
BIG = st.integers(0, 10**15)


SIZES = st.tuples(st.integers(1, 14), st.integers(1, 14))
"""Requests of control and of the candidate."""


@st.composite
def doses(draw: st.DrawFn) -> Counts:
    control, candidate = draw(BIG), draw(BIG)
    return Counts(control, draw(st.integers(0, control)), candidate, draw(st.integers(0, candidate)))


def every_outcome(control: int, candidate: int) -> CountColumns:
    """All numbers of errors that two arms can have, control's in the outer loop."""
    x_a, x_b = (grid.ravel() for grid in np.indices((control + 1, candidate + 1)))
    return CountColumns(np.full_like(x_a, control), x_a, np.full_like(x_b, candidate), x_b)


def binomial(requests: int, rate: float) -> NDArray[np.float64]:
    return np.array([math.comb(requests, x) * rate**x * (1.0 - rate) ** (requests - x) for x in range(requests + 1)])


def expected_wealth(
    log_wealth: NDArray[np.float64], control: int, rate_a: float, candidate: int, rate_b: float
) -> NDArray[np.float64]:
    """E[exp(L_j)] over every outcome, when requests fail independently."""
    chances = np.outer(binomial(control, rate_a), binomial(candidate, rate_b)).ravel()
    return np.asarray(chances @ np.exp(log_wealth))


@pytest.mark.parametrize(
    ("doses", "ratio", "floor", "weights", "expected"),
    [
        (DOSES[:1], 1.0, 0.0, uniform(6), 1.500862),
        (DOSES, 1.0, 0.0, uniform(6), 3.243229),
        (DOSES, 1.1, 0.001, uniform(6), 2.171738),
        (DOSES, 1.1, 0.001, errors.ROLLBACK_WEIGHTS, 2.203144),
    ],
)
def test_rollback_evidence_is_the_published_one(
    doses: tuple[Counts, ...], ratio: float, floor: float, weights: NDArray[np.float64], expected: float
) -> None:
    evidence = sum((errors.rollback_increment(dose, ratio, floor) for dose in doses), np.zeros(6))
    assert log_mean(evidence, weights) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("doses", "expected"), [(ERROR_FREE, 2.938167), (DOSES, -2.757920)])
def test_promotion_evidence_is_the_published_one(doses: tuple[Counts, ...], expected: float) -> None:
    evidence = sum((errors.promote_increment(dose, 1.5, 0.001) for dose in doses), np.zeros(6))
    assert log_mean(evidence, errors.PROMOTE_WEIGHTS) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("ratio", "bet", "floor", "rate_b", "expected"),
    [(1.0, 2.0, 0.0, 0.3, 0.892027690), (1.1, 2.2, 0.05, 1.1 * 0.3 + 0.05, 0.853117385)],
)
def test_the_expected_wealth_of_one_bet_is_the_published_one(
    ratio: float, bet: float, floor: float, rate_b: float, expected: float
) -> None:
    log_wealth = errors.increment(every_outcome(20, 5), ratio, floor, np.array([bet / ratio]))
    assert expected_wealth(log_wealth, 20, 0.3, 5, rate_b)[0] == pytest.approx(expected, abs=1e-9)


@given(SIZES, RATES, RATIOS, FLOORS, st.floats(0.0, 1.0))
def test_no_rollback_bet_gains_where_the_candidate_is_tolerable(
    sizes: tuple[int, int], rate_a: float, ratio: float, floor: float, inside: float
) -> None:
    """At the edge of the null (`inside` = 1) and below it."""
    log_wealth = errors.rollback_increment(every_outcome(*sizes), ratio, floor)
    rate_b = inside * min(1.0, ratio * rate_a + floor)
    assert expected_wealth(log_wealth, sizes[0], rate_a, sizes[1], rate_b).max() <= 1.0 + ROUNDING


@given(SIZES, RATES, RATIOS, FLOORS, st.floats(0.0, 1.0))
def test_no_promotion_bet_gains_where_the_candidate_is_not_good_enough(
    sizes: tuple[int, int], rate_a: float, ratio: float, floor: float, inside: float
) -> None:
    """At the edge of the null (`inside` = 0) and above it."""
    edge = ratio * rate_a + floor
    assume(edge <= 1.0)
    log_wealth = errors.promote_increment(every_outcome(*sizes), ratio, floor)
    rate_b = edge + inside * (1.0 - edge)
    assert expected_wealth(log_wealth, sizes[0], rate_a, sizes[1], rate_b).max() <= 1.0 + ROUNDING


def test_a_bet_gains_where_the_null_is_false() -> None:
    """The two tests above can fail: just outside the null a bet does gain."""
    worse = errors.rollback_increment(every_outcome(14, 14), 1.1, 0.01)
    assert expected_wealth(worse, 14, 0.2, 14, 0.5).max() > 1.1
    better = errors.promote_increment(every_outcome(14, 14), 1.5, 0.01)
    assert expected_wealth(better, 14, 0.5, 14, 0.2).max() > 1.1


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=8),
    st.data(),
    RATIOS,
)
def test_requests_may_differ_as_they_like_when_arms_are_drawn_at_random(
    requests: list[tuple[bool, bool]], data: st.DataObject, ratio: float
) -> None:
    """Whether a request fails on either arm is fixed and known; only who goes where is random.

    The floor makes the null hold on average over the requests, with nothing to spare.
    """
    fails_a, fails_b = np.array(requests).T
    floor = float(fails_b.mean() - ratio * fails_a.mean())
    assume(floor >= 0.0)
    candidate = data.draw(st.integers(1, len(requests) - 1))
    chosen = np.array([np.isin(np.arange(len(requests)), c) for c in combinations(range(len(requests)), candidate)])
    outcomes = CountColumns(
        control=(~chosen).sum(axis=1),
        control_errors=(~chosen & fails_a).sum(axis=1),
        candidate=chosen.sum(axis=1),
        candidate_errors=(chosen & fails_b).sum(axis=1),
    )
    wealth = np.exp(errors.rollback_increment(outcomes, ratio, floor)).mean(axis=0)
    assert wealth.max() <= 1.0 + ROUNDING


@pytest.mark.parametrize("lacking", [Counts(0, 0, 100, 7), Counts(100, 7, 0, 0), Counts(0, 0, 0, 0)])
def test_a_dose_that_lacks_an_arm_says_nothing(lacking: Counts) -> None:
    for evidence in (
        errors.rollback_increment(lacking, 1.1, 0.001),
        errors.promote_increment(lacking, 1.5, 0.002),
        errors.exceedance_increment(lacking),
    ):
        assert evidence.tolist() == [0.0] * 6


@given(doses(), RATIOS, FLOORS)
def test_evidence_is_finite_whatever_was_counted(dose: Counts, ratio: float, floor: float) -> None:
    assert np.isfinite(errors.rollback_increment(dose, ratio, floor)).all()
    assert np.isfinite(errors.promote_increment(dose, ratio, floor)).all()


@given(st.lists(doses(), max_size=6), RATIOS, FLOORS)
def test_columns_say_what_their_doses_say(rows: list[Counts], ratio: float, floor: float) -> None:
    columns = CountColumns(
        np.array([dose.control for dose in rows], np.int64),
        np.array([dose.control_errors for dose in rows], np.int64),
        np.array([dose.candidate for dose in rows], np.int64),
        np.array([dose.candidate_errors for dose in rows], np.int64),
    )
    for increment in (errors.rollback_increment, errors.promote_increment):
        together = increment(columns, ratio, floor)
        assert together.shape == (len(rows), 6)
        for dose, row in zip(rows, together, strict=True):
            assert row == pytest.approx(increment(dose, ratio, floor), rel=1e-12, abs=1e-9)


@given(st.lists(st.tuples(*[st.integers(0, 500)] * 4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_parts_of_a_dose_merge_in_any_order(parts: list[tuple[int, int, int, int]], random: Random) -> None:
    """What partitions counted is added before the dose is judged: nothing is left of how it was cut or ordered."""
    shuffled = parts.copy()
    random.shuffle(shuffled)

    def merged(rows: list[tuple[int, int, int, int]]) -> Counts:
        good_a, bad_a, good_b, bad_b = map(sum, zip(*rows, strict=True))
        return Counts(good_a + bad_a, bad_a, good_b + bad_b, bad_b)

    left = errors.rollback_increment(merged(parts), 1.1, 0.001)
    assert left.tobytes() == errors.rollback_increment(merged(shuffled), 1.1, 0.001).tobytes()


@given(st.integers(1, 50), st.integers(1, 50), st.lists(st.tuples(RATES, RATES), min_size=1, max_size=8))
def test_doses_of_one_split_merge_before_or_after(
    control: int, candidate: int, rates: list[tuple[float, float]]
) -> None:
    """Where the shares are equal a dose may be cut anywhere; where they are not, it must not be pooled."""
    cut = [Counts(control, int(a * control), candidate, int(b * candidate)) for a, b in rates]
    pooled = reduce(
        lambda one, two: Counts(
            one.control + two.control,
            one.control_errors + two.control_errors,
            one.candidate + two.candidate,
            one.candidate_errors + two.candidate_errors,
        ),
        cut,
    )
    after = sum((errors.rollback_increment(dose, 1.1, 0.001) for dose in cut), np.zeros(6))
    backwards = sum((errors.rollback_increment(dose, 1.1, 0.001) for dose in reversed(cut)), np.zeros(6))
    assert after == pytest.approx(errors.rollback_increment(pooled, 1.1, 0.001), abs=1e-9)
    assert after == pytest.approx(backwards, abs=1e-9)


def test_pooled_rules_make_evidence_out_of_nothing() -> None:
    """Equal models, rates .2 % and 1 %, shares .05 and .75: by rule no evidence, pooled a rollback (Simpson)."""
    rules = (Counts(95_000, 190, 5_000, 10), Counts(25_000, 250, 75_000, 750))
    by_rule = sum((errors.rollback_increment(rule, 1.1, 0.001) for rule in rules), np.zeros(6))
    pooled = errors.rollback_increment(Counts(120_000, 440, 80_000, 760), 1.1, 0.001)
    assert log_mean(by_rule, errors.ROLLBACK_WEIGHTS) < 0.0
    assert log_mean(pooled, errors.ROLLBACK_WEIGHTS) > math.log(20)


def test_more_errors_of_the_candidate_are_more_evidence() -> None:
    worse = CountColumns(*(np.full(101, number) for number in (900, 9, 100)), np.arange(101))
    rollback = log_means(errors.rollback_increment(worse, 1.1, 0.001), errors.ROLLBACK_WEIGHTS)
    promote = log_means(errors.promote_increment(worse, 1.5, 0.002), errors.PROMOTE_WEIGHTS)
    assert all(less < more for less, more in pairwise(rollback))
    assert all(more > less for more, less in pairwise(promote))


def test_an_error_free_control_is_matched_only_with_a_floor() -> None:
    dose = Counts(900_000, 0, 100_000, 0)
    without, with_floor = (
        log_mean(errors.promote_increment(dose, 1.5, f), errors.PROMOTE_WEIGHTS) for f in (0.0, 0.001)
    )
    assert without == pytest.approx(0.0, abs=ROUNDING)
    assert with_floor > math.log(20)


def test_exceedances_are_compared_without_tolerance_unless_told() -> None:
    dose = Counts(64, 3, 64, 9)
    assert errors.exceedance_increment(dose).tolist() == errors.rollback_increment(dose, 1.0, 0.0).tolist()
    told = errors.exceedance_increment(dose, 1.1, 0.001)
    assert told.tolist() == errors.rollback_increment(dose, 1.1, 0.001).tolist()


@pytest.mark.parametrize(
    "numbers", [(10, 11, 10, 0), (10, 0, 10, 11), (10, -1, 10, 0), (-1, 0, 10, 0), (10, 0, -1, -1)]
)
def test_impossible_counts_are_refused(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="0 <= errors <= requests"):
        Counts(*numbers)
    with pytest.raises(ValueError, match="0 <= errors <= requests"):
        CountColumns(*(np.array([5, number]) for number in numbers))


@pytest.mark.parametrize(("ratio", "floor"), [(0.0, 0.0), (-1.0, 0.0), (1.0, -0.1), (math.nan, 0.0), (math.inf, 0.0)])
def test_an_impossible_tolerance_is_refused(ratio: float, floor: float) -> None:
    with pytest.raises(ValueError, match="positive ratio"):
        errors.rollback_increment(DOSES[0], ratio, floor)
