"""Means of bounded values: pairs that anybody can repeat, and bets that expect to lose under their null."""

import hashlib
import math
from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamsplit.core.evidence import bounded
from streamsplit.core.evidence.bins import Binned, Moments, sparse
from streamsplit.core.evidence.margin import refusal
from streamsplit.core.evidence.mixture import log_mean
from streamsplit.core.guards import Direction

DROP, RISE, EITHER = Direction.DROP, Direction.RISE, Direction.EITHER
BINS = st.dictionaries(st.integers(0, 999), st.integers(0, 12), max_size=8)
UNIT = st.floats(0.0, 1.0)


def dose(window: int = 0) -> np.random.PCG64:
    return bounded.generator("delay-v2", "score/canary", window, -1, 4711)


def pairs(
    control: Mapping[int, int] | Binned, candidate: Mapping[int, int] | Binned, numbers: np.random.PCG64
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return bounded.Shuffle(control, numbers).pairs(candidate)


def column(*values: float) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def test_the_oracle_of_the_bets() -> None:
    differences = np.tile([0.3, -0.1, 0.25, 0.4, 0.0, -0.05], 10)
    x, y = np.clip(differences, 0.0, 1.0), np.clip(-differences, 0.0, 1.0)
    found = bounded.rollback_increment(x, y, margin=0.0, relative=False, direction=DROP)
    assert log_mean(found[DROP], bounded.WEIGHTS) == pytest.approx(4.378609, abs=1e-6)


def test_the_oracle_of_the_shuffle() -> None:
    x, y = pairs({100: 6, 300: 6}, {50: 2, 250: 2}, np.random.PCG64(12345))
    assert x - y == pytest.approx([0.116667, -0.15, 0.25, -0.016667], abs=1e-6)
    found = bounded.rollback_increment(x, y, margin=0.0, relative=False, direction=DROP)
    assert log_mean(found[DROP], bounded.WEIGHTS) == pytest.approx(0.061605, abs=1e-6)


def test_many_pairs_are_told_as_exactly_as_few() -> None:
    differences = np.random.default_rng(8).uniform(-1, 1, 1000)
    for said, sign in ((bounded.against, 1.0), (bounded.in_favour, -1.0)):
        plain = [math.fsum(math.log1p(sign * bet * each) for each in differences) for bet in bounded.LAMBDAS]
        assert said(differences) == pytest.approx(plain, rel=1e-12)
    assert bounded.in_favour(np.ones(5000)) == pytest.approx(5000 * np.log1p(-bounded.LAMBDAS), rel=1e-12)


def test_the_seed_is_the_digest_of_the_five_fields() -> None:
    digest = hashlib.sha256("größe\0score\x001735689600000\x00-1\x00\x34\x32".encode()).hexdigest()
    expected = np.random.PCG64(int(digest, 16)).random_raw(3)
    assert bounded.generator("größe", "score", 1735689600000, -1, 42).random_raw(3).tolist() == expected.tolist()


@given(BINS, BINS)
def test_pairs_depend_on_what_was_counted_and_on_no_order(control: dict[int, int], candidate: dict[int, int]) -> None:
    turned, back = (dict(reversed(bins.items())) for bins in (control, candidate))
    one, other = pairs(control, candidate, dose()), pairs(turned, back, dose())
    assert [column.tolist() for column in one] == [column.tolist() for column in other]


@given(BINS, BINS)
def test_every_value_is_in_exactly_one_pair(control: dict[int, int], candidate: dict[int, int]) -> None:
    n_a, n_b = sum(control.values()), sum(candidate.values())
    x, y = pairs(control, candidate, dose())
    assert len(x) == len(y) == min(n_a, n_b)
    if not len(x):
        return
    for bins, means, count in ((control, x, n_a), (candidate, y, n_b)):
        sizes = np.bincount(np.arange(count) % len(means))
        assert sizes.max() - sizes.min() <= 1
        total = sum((place + 0.5) / 1000 * number for place, number in bins.items())
        assert means @ sizes == pytest.approx(total)
        assert ((means >= 0) & (means <= 1)).all()


def test_an_arm_is_in_the_stable_order_of_its_numbers_also_where_they_are_alike() -> None:
    class Alike:
        """Numbers of which many differ in their last bits alone, or not at all."""

        def random_raw(self, count: int) -> NDArray[np.uint64]:
            return np.random.default_rng(3).integers(0, 40, count).astype(np.uint64) << np.uint64(8)

    bins = {0: 30, 7: 1, 500: 60, 999: 9}
    for generator in (dose, Alike):
        order = np.argsort(generator().random_raw(100), kind="stable")  # type: ignore[union-attr]
        values = np.repeat([0.0005, 0.0075, 0.5005, 0.9995], list(bins.values()))
        found = bounded.shuffled(bins, generator())  # type: ignore[arg-type]
        assert found.tolist() == pytest.approx(values[order].tolist(), abs=1e-15)


def test_the_larger_arm_is_dealt_round() -> None:
    x, y = bounded.dealt(column(0.1, 0.2, 0.3, 0.4, 0.5), column(0.7, 0.9))
    assert (x.tolist(), y.tolist()) == (pytest.approx([0.3, 0.3]), [0.7, 0.9])
    y, x = bounded.dealt(column(0.7, 0.9), column(0.1, 0.2, 0.3, 0.4, 0.5))
    assert (x.tolist(), y.tolist()) == (pytest.approx([0.3, 0.3]), [0.7, 0.9])


@pytest.mark.parametrize(("control", "candidate"), [({}, {3: 5}), ({3: 5}, {}), ({}, {}), ({3: 0}, {3: 5})])
def test_a_dose_that_lacks_an_arm_says_nothing(control: dict[int, int], candidate: dict[int, int]) -> None:
    x, y = pairs(control, candidate, dose())
    assert (len(x), len(y)) == (0, 0)
    for increment in (bounded.rollback_increment, bounded.promote_increment):
        found = increment(x, y, margin=0.02, relative=False, direction=EITHER)
        assert [each.tolist() for each in found.values()] == [[0.0] * 8] * 2


@given(BINS, st.lists(BINS, min_size=1, max_size=5))
def test_candidates_share_controls_order_and_get_the_pairs_they_would_get_alone(
    control: dict[int, int], candidates: list[dict[int, int]]
) -> None:
    shared = bounded.Shuffle(control, dose())
    for each in candidates:
        found, alone = shared.pairs(each), pairs(control, each, dose())
        assert [column.tolist() for column in found] == [column.tolist() for column in alone]


def test_every_order_of_an_arm_is_as_likely_as_any_other() -> None:
    """The 24 orders of four values over 2 400 windows: chi-square with 23 degrees, 1e-4 bound 56.4."""
    seen: dict[tuple[float, ...], int] = {}
    for window in range(2_400):
        order = tuple(bounded.shuffled({0: 1, 1: 1, 2: 1, 3: 1}, dose(window)).tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 24
    assert sum((count - 100) ** 2 / 100 for count in seen.values()) < 56.4


def test_one_generator_for_both_arms_pairs_at_random_and_the_same_seed_twice_by_rank() -> None:
    bins = dict.fromkeys(range(0, 1000, 10), 1)
    x, y = pairs(bins, bins, dose())
    assert abs(float(np.corrcoef(x, y)[0, 1])) < 0.3
    x, y = bounded.dealt(bounded.shuffled(bins, dose()), bounded.shuffled(bins, dose()))
    assert x.tolist() == y.tolist()


@pytest.mark.parametrize("bins", [{-1: 1}, {1000: 1}, {5: -1}])
def test_bins_that_are_none_are_refused(bins: dict[int, int]) -> None:
    for arms in ((bins, {5: 1}), ({5: 1}, bins)):
        with pytest.raises(ValueError, match="expected bins"):
            pairs(*arms, dose())


LAW = st.tuples(st.lists(UNIT, min_size=3, max_size=3), st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3))


def law(drawn: tuple[list[float], list[float]]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    values, weights = np.array(drawn[0]), np.array(drawn[1])
    return values, weights / weights.sum(), float(values @ weights / weights.sum())


@settings(max_examples=40)
@given(
    one=LAW,
    other=LAW,
    direction=st.sampled_from([DROP, RISE]),
    relative=st.booleans(),
    promote=st.booleans(),
    zero=st.floats(-2.0, 0.0),
)
def test_the_expected_e_value_is_at_most_1(
    one: tuple[list[float], list[float]],
    other: tuple[list[float], list[float]],
    *,
    direction: Direction,
    relative: bool,
    promote: bool,
    zero: float,
) -> None:
    """By enumeration of three values of control and two of the candidate, at the edge of the null or inside it."""
    (a, p_a, mean_a), (b, p_b, mean_b) = law(one), law(other)
    if promote and (mean_b > mean_a) == (direction is DROP):
        (a, p_a, mean_a), (b, p_b, mean_b) = (b, p_b, mean_b), (a, p_a, mean_a)
    assume(not relative or mean_a - zero > 1e-3)
    margin = max(0.0, mean_a - mean_b if direction is DROP else mean_b - mean_a)
    if relative:
        margin /= mean_a - zero
    assume(margin < (1.0 if relative else math.inf))
    increment = bounded.promote_increment if promote else bounded.rollback_increment
    expected = 0.0
    for i, j, k, m, n in product(range(3), repeat=5):
        x, y = bounded.dealt(a[[i, j, k]], b[[m, n]])
        found = increment(x, y, margin=margin, relative=relative, direction=direction, zero=zero)[direction]
        expected += p_a[i] * p_a[j] * p_a[k] * p_b[m] * p_b[n] * math.exp(log_mean(found, bounded.WEIGHTS))
    assert expected <= 1.0 + 1e-9


@given(x=UNIT, y=UNIT, margin=st.floats(0.0, 0.99), relative=st.booleans(), zero=st.floats(-3.0, 0.0))
def test_no_pair_costs_a_bet_more_than_its_share(
    *, x: float, y: float, margin: float, relative: bool, zero: float
) -> None:
    for increment in (bounded.rollback_increment, bounded.promote_increment):
        found = increment(column(x), column(y), margin=margin, relative=relative, direction=EITHER, zero=zero)
        for each in found.values():
            assert (each >= np.log1p(-bounded.LAMBDAS) - 1e-9).all()
            assert (each <= np.log1p(bounded.LAMBDAS) + 1e-9).all()


@pytest.mark.parametrize(
    ("margin", "relative", "direction", "zero", "difference"),
    [
        (0.02, False, DROP, 0.0, (0.5 - 0.4 - 0.02) / 1.02),
        (0.02, False, RISE, 0.0, (0.4 - 0.5 - 0.02) / 1.02),
        (0.1, True, DROP, 0.0, 0.9 * 0.5 - 0.4),
        (0.1, True, RISE, 0.0, (0.4 - 1.1 * 0.5) / 1.1),
        (0.1, True, DROP, -1.0, (0.9 * 1.5 - 1.4) / 1.1),  # values from 1 to 2: the mean of control is 1.5
    ],
)
def test_what_a_pair_says(
    *, margin: float, relative: bool, direction: Direction, zero: float, difference: float
) -> None:
    pair = column(0.5), column(0.4)
    bad = bounded.rollback_increment(*pair, margin=margin, relative=relative, direction=direction, zero=zero)
    good = bounded.promote_increment(*pair, margin=margin, relative=relative, direction=direction, zero=zero)
    assert bad[direction] == pytest.approx(np.log1p(bounded.LAMBDAS * difference))
    assert good[direction] == pytest.approx(np.log1p(-bounded.LAMBDAS * difference))


def test_either_is_both_directions() -> None:
    pair = column(0.5, 0.2), column(0.4, 0.9)
    for increment in (bounded.rollback_increment, bounded.promote_increment):
        both = increment(*pair, margin=0.02, relative=False, direction=EITHER)
        assert list(both) == [DROP, RISE]
        for each, found in both.items():
            alone = increment(*pair, margin=0.02, relative=False, direction=each)
            assert alone[each].tolist() == found.tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.01, 1.01])
def test_values_that_are_not_scaled_are_refused(value: float) -> None:
    for pair in ((column(0.5, value), column(0.5, 0.5)), (column(0.5, 0.5), column(0.5, value))):
        for increment in (bounded.rollback_increment, bounded.promote_increment):
            with pytest.raises(ValueError, match="values from 0 to 1"):
                increment(*pair, margin=0.02, relative=False, direction=DROP)


@pytest.mark.parametrize(
    ("margin", "relative", "zero"),
    [(-0.1, False, 0.0), (math.nan, False, 0.0), (1.0, True, 0.0), (0.1, True, 0.5), (0.1, True, math.nan)],
)
def test_a_margin_that_is_none_is_refused(*, margin: float, relative: bool, zero: float) -> None:
    with pytest.raises(ValueError, match="expected a"):
        bounded.rollback_increment(
            column(0.5), column(0.5), margin=margin, relative=relative, direction=DROP, zero=zero
        )


def test_what_has_no_value_counts_as_the_worst_one() -> None:
    for bins, missing, direction, expected in (
        ({500: 7}, 3, DROP, {0: 3, 500: 7}),
        ({0: 2, 500: 7}, 3, DROP, {0: 5, 500: 7}),
        ({500: 7}, 3, RISE, {500: 7, 999: 3}),
        ({500: 7}, 0, DROP, {500: 7}),
    ):
        found, plain = bounded.worst(bins, missing, direction), Binned.of(expected)
        assert sparse(found.counts) == sparse(plain.counts)
        assert found.values.tolist() == plain.values.tolist()
        assert (found.number, found.places, found.squares) == (plain.number, plain.places, plain.squares)
    with pytest.raises(ValueError, match="drop or rise"):
        bounded.worst({500: 7}, 3, EITHER)


def test_a_candidate_that_leaves_out_what_it_is_bad_at_is_not_promoted() -> None:
    control, candidate, missing = {700: 9_000}, {700: 900}, 100
    plain = pairs(control, candidate, dose())
    whole = pairs(bounded.worst(control, 0, DROP), bounded.worst(candidate, missing, DROP), dose())
    without, with_missing = (
        log_mean(bounded.promote_increment(*pair, margin=0.02, relative=False, direction=DROP)[DROP], bounded.WEIGHTS)
        for pair in (plain, whole)
    )
    assert with_missing < 0 < math.log(20) < without


@pytest.mark.parametrize(
    ("margin", "bins", "zero", "refused"),
    [
        (0.02, {100: 50, 300: 50}, 0.0, None),
        (0.0019, {100: 50, 300: 50}, 0.0, "finer than its bins"),
        (0.05, {100: 50, 300: 50}, 0.0, "above 0.04"),  # 20 % of .2005
        (0.05, {100: 50, 300: 50}, -1.0, None),  # 20 % of 1.2005 on the values' own scale
        (0.02, {4: 100}, 0.0, "above 0,"),  # one value: any margin is above its standard deviation
        (0.02, {0: 990, 450: 10}, 0.0, "above 0.001"),  # a revenue that most requests do not bring
        (0.02, {}, 0.0, None),
        (0.02, {5: 0}, 0.0, None),
    ],
)
def test_which_margins_say_nothing(margin: float, bins: dict[int, int], zero: float, refused: str | None) -> None:
    found = refusal(Moments.of(bins), margin, zero)
    assert found is None if refused is None else refused in (found or "")
