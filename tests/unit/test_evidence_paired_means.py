"""Scores of mirrored requests: what points keep of a pair, and bets that expect to lose under their null."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamsplit.core.evidence import bounded, paired_means
from streamsplit.core.evidence.margin import Margin, margins_of
from streamsplit.core.evidence.mixture import log_mean
from streamsplit.core.guards import Direction, Score, ScoreGuard
from streamsplit.core.mirroring import ScorePairs
from streamsplit.core.records import Outcome
from streamsplit.core.score_pairs import Scored, count_pairs

DROP, RISE = Direction.DROP, Direction.RISE
DIRECTIONS = st.sampled_from([DROP, RISE])
UNIT = st.floats(0.0, 1.0)
MARGINS = st.floats(0.0, 0.99)
Floats = NDArray[np.float64]


def guard(margin: float, *, relative: bool = False, direction: Direction = Direction.EITHER) -> ScoreGuard:
    return ScoreGuard(Score("probability"), margin, relative, direction)


def counted(settings: ScoreGuard, x: Floats, y: Floats) -> ScorePairs:
    """As a worker counts pairs; NaN for a score that is missing."""
    outcomes = np.full(len(x), Outcome.OK, np.int8)
    (pairs,) = count_pairs(Scored(settings, x, y, outcomes), np.zeros(len(x), np.int64), 1)
    return pairs


def points(settings: ScoreGuard, x: Floats, y: Floats) -> dict[int, int]:
    pairs = counted(settings, x, y)
    return dict(pairs.drop if settings.direction is DROP else pairs.rise)


def test_the_oracle_of_the_bets_is_met_from_below() -> None:
    differences = np.tile([0.3, -0.1, 0.25, 0.4, 0.0, -0.05], 10)
    x, y = np.clip(differences, 0.0, 1.0), np.clip(-differences, 0.0, 1.0)
    said = log_mean(paired_means.rollback_increment(counted(guard(0.0), x, y).drop), bounded.WEIGHTS)
    assert said == pytest.approx(4.378609, abs=1e-3)
    assert said <= 4.378609


PAIRS = st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=20)


@given(pairs=PAIRS, margin=MARGINS, relative=st.booleans(), direction=DIRECTIONS)
def test_points_say_no_more_than_the_pairs_themselves_and_hardly_less(
    *, pairs: list[tuple[float, float]], margin: float, relative: bool, direction: Direction
) -> None:
    """What is proved in `paired_means`: each bet, whatever the pairs, against the candidate and for it."""
    x, y = np.array(pairs).T
    found = points(guard(margin, relative=relative, direction=direction), x, y)
    exact: dict[str, Floats] = {
        "against": bounded.rollback_increment(x, y, margin=margin, relative=relative, direction=direction)[direction],
        "for": bounded.promote_increment(x, y, margin=margin, relative=relative, direction=direction)[direction],
    }
    said = {"against": paired_means.rollback_increment(found), "for": paired_means.promote_increment(found)}
    step = 0.002 * bounded.LAMBDAS
    most = len(x) * (step**2 / 8 / (1 - bounded.LAMBDAS - step) ** 2 + 3e-6 * bounded.LAMBDAS / (1 - bounded.LAMBDAS))
    for way, increment in said.items():
        assert (increment <= exact[way] + 1e-12).all()
        assert (increment >= exact[way] - most - 1e-9).all()


@given(pairs=PAIRS, margin=MARGINS, relative=st.booleans(), direction=DIRECTIONS)
def test_points_keep_the_mean_and_count_every_pair_once(
    *, pairs: list[tuple[float, float]], margin: float, relative: bool, direction: Direction
) -> None:
    x, y = np.array(pairs).T
    settings = guard(margin, relative=relative, direction=direction)
    found = points(settings, x, y)
    assert sum(found.values()) == 1000 * len(x)
    (one,) = margins_of(settings)
    mean = sum((point / 500 - 1) * parts for point, parts in found.items()) / 1000 / len(x)
    assert mean == pytest.approx(float((one.outside(x, y) / one.scale).mean()), abs=1.001e-6)


def test_two_models_that_say_the_same_are_promoted_and_never_taken_back() -> None:
    x = np.linspace(0.01, 0.9, 2_000)
    for settings in (guard(0.02), guard(0.02, relative=True)):
        pairs = counted(settings, x, x)
        for found in (pairs.drop, pairs.rise):
            assert log_mean(paired_means.promote_increment(found), bounded.WEIGHTS) > math.log(20)
            assert (paired_means.rollback_increment(found) < 0).all()


def test_a_margin_far_below_a_step_is_no_matter() -> None:
    """2 % of a mean of .005 is a twentieth of a step: points keep the mean, bins would round it away."""
    x = np.full(200_000, 0.005)
    good, bad = (points(guard(0.02, relative=True, direction=DROP), x, share * x) for share in (1.0, 0.95))
    assert log_mean(paired_means.promote_increment(good), bounded.WEIGHTS) > math.log(20)
    assert log_mean(paired_means.rollback_increment(bad), bounded.WEIGHTS) > math.log(20)
    assert log_mean(paired_means.rollback_increment(good), bounded.WEIGHTS) < 0


# -- expectations ------------------------------------------------------------------------------------------------------

VALUES = st.lists(UNIT, min_size=2, max_size=2)
JOINT = st.lists(st.floats(0.02, 1.0), min_size=4, max_size=4)


@examples(max_examples=60)
@given(
    values=st.tuples(VALUES, VALUES),
    weights=JOINT,
    direction=DIRECTIONS,
    relative=st.booleans(),
    promote=st.booleans(),
    inside=st.floats(0.0, 0.5),
)
def test_the_expected_e_value_is_at_most_1_whatever_the_two_scores_have_in_common(
    *,
    values: tuple[list[float], list[float]],
    weights: list[float],
    direction: Direction,
    relative: bool,
    promote: bool,
    inside: float,
) -> None:
    """By enumeration of three pairs of any joint law, at the edge of the null (`inside` 0) or within it."""
    pairs = list(product(*values))
    chances = np.array(weights) / sum(weights)
    x, y = np.array(pairs).T
    means = float(chances @ x), float(chances @ y)
    worse = (means[0] - means[1]) * (1 if direction is DROP else -1)
    if worse < 0.0:  # no margin makes this the edge of a null
        direction, worse = (RISE if direction is DROP else DROP), -worse
    margin = worse * (1 - inside) if promote else worse + inside
    if relative:
        margin = margin / means[0] if means[0] > 1e-3 else 1.0
        if margin >= 1.0:
            return
    settings = guard(margin, relative=relative, direction=direction)
    increment = paired_means.promote_increment if promote else paired_means.rollback_increment
    single = [increment(points(settings, x[[at]], y[[at]])) for at in range(4)]
    expected = 0.0
    for drawn in product(range(4), repeat=3):
        log_e = log_mean(np.sum([single[at] for at in drawn], axis=0), bounded.WEIGHTS)
        expected += float(chances[list(drawn)].prod()) * math.exp(log_e)
    assert expected <= 1.0 + 1e-9


@given(first=PAIRS, second=PAIRS, direction=DIRECTIONS)
def test_pairs_may_be_merged_before_or_after(
    *, first: list[tuple[float, float]], second: list[tuple[float, float]], direction: Direction
) -> None:
    one, other = (counted(guard(0.02), *np.array(pairs).T) for pairs in (first, second))
    both = one + other
    assert both == other + one
    assert both == counted(guard(0.02), *np.array([*first, *second]).T)
    name = str(direction)
    for increment in (paired_means.rollback_increment, paired_means.promote_increment):
        apart = increment(getattr(one, name)) + increment(getattr(other, name))
        assert increment(getattr(both, name)) == pytest.approx(apart, abs=1e-9)


def test_no_pairs_say_nothing() -> None:
    assert not paired_means.rollback_increment({}).any()
    assert not paired_means.promote_increment({}).any()


@pytest.mark.parametrize("wrong", [{-1: 1000}, {1001: 1000}, {500: -1}])
def test_points_that_are_none_are_refused(wrong: dict[int, int]) -> None:
    for increment in (paired_means.rollback_increment, paired_means.promote_increment):
        with pytest.raises(ValueError, match="expected points"):
            increment(wrong)


# -- missing scores ----------------------------------------------------------------------------------------------------


@given(known=UNIT, margin=MARGINS, relative=st.booleans())
def test_a_pair_that_lacks_a_score_has_the_worst_one_for_each_direction(
    *, known: float, margin: float, relative: bool
) -> None:
    settings = guard(margin, relative=relative)
    score, none = np.array([known]), np.array([math.nan])
    for lacking in (0, 1):
        given_scores = (none, score) if lacking == 0 else (score, none)
        pairs = counted(settings, *given_scores)
        assert (pairs.scored, pairs.unscored, dict(pairs.drop), dict(pairs.rise)) == (0, 1, {}, {})
        for worst, found, direction in ((0.0, pairs.drop_unscored, DROP), (1.0, pairs.rise_unscored, RISE)):
            filled = [np.array([worst]) if math.isnan(each[0]) else each for each in given_scores]
            assert found == points(guard(margin, relative=relative, direction=direction), *filled)


@given(known=UNIT, margin=st.floats(0.002, 0.99), relative=st.booleans(), direction=DIRECTIONS)
def test_a_missing_score_of_the_candidate_never_speaks_for_it_beyond_a_tie(
    *, known: float, margin: float, relative: bool, direction: Direction
) -> None:
    pairs = counted(guard(margin, relative=relative), np.array([known]), np.array([math.nan]))
    found = pairs.drop_unscored if direction is DROP else pairs.rise_unscored
    one = Margin(margin, relative, direction)
    worst = np.array([0.0 if direction is DROP else 1.0])
    tie = np.log1p(-bounded.LAMBDAS * float(one.outside(worst, worst)[0]) / one.scale)
    assert (paired_means.promote_increment(found) <= tie + 1e-9).all()


def test_a_candidate_that_leaves_out_what_it_is_bad_at_is_not_promoted_and_not_taken_back_for_it() -> None:
    x = np.full(10_000, 0.7)
    y = np.where(np.arange(10_000) % 10 == 0, math.nan, 0.7)
    pairs = counted(guard(0.02, direction=DROP), x, y)
    assert (pairs.scored, pairs.unscored) == (9_000, 1_000)
    merged = {**pairs.drop}
    for point, parts in pairs.drop_unscored.items():
        merged[point] = merged.get(point, 0) + parts
    assert log_mean(paired_means.promote_increment(pairs.drop), bounded.WEIGHTS) > math.log(20)
    assert log_mean(paired_means.promote_increment(merged), bounded.WEIGHTS) < 0
    assert log_mean(paired_means.rollback_increment(pairs.drop), bounded.WEIGHTS) < 0
