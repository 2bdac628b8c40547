"""Pairs of failures: exact for any dependence of the two arms."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.evidence import paired, speed
from streamsplit.core.evidence.mixture import log_mean
from streamsplit.core.evidence.paired import Pairs

RATES = st.floats(0.0, 1.0)
RATIOS = st.floats(0.2, 3.0)
FLOORS = st.floats(0.0, 0.2)
COUNTS = st.integers(0, 10_000)
PAIRS = st.builds(Pairs, COUNTS, COUNTS, COUNTS, COUNTS)

SINGLE = (Pairs(only_candidate=1), Pairs(only_control=1), Pairs(both=1), Pairs(neither=1))


def cells(control: float, candidate: float, overlap: float) -> tuple[float, ...]:
    """Chances of the four kinds of pair: `overlap` 0 is the least that both can fail together, 1 the most."""
    least, most = max(0.0, control + candidate - 1.0), min(control, candidate)
    both = least + overlap * (most - least)
    return candidate - both, control - both, both, 1.0 - control - candidate + both


def test_the_oracle() -> None:
    found = log_mean(paired.rollback_increment(Pairs(18, 6, 2, 974), 1.1, 0.001), paired.WEIGHTS)
    assert found == pytest.approx(1.296950, abs=1e-6)


@given(control=RATES, share=RATES, overlap=RATES, ratio=RATIOS, floor=FLOORS)
def test_every_bet_against_a_tolerated_candidate_expects_to_lose(
    control: float, share: float, overlap: float, ratio: float, floor: float
) -> None:
    """By enumeration of a pair, whatever hangs together; at the edge of the null (share 1) it breaks even."""
    candidate = share * min(1.0, ratio * control + floor)
    factors = np.exp([paired.rollback_increment(pair, ratio, floor) for pair in SINGLE])
    expected = np.array(cells(control, candidate, overlap)) @ factors
    assert (expected <= 1.0 + 1e-9).all()
    if candidate == ratio * control + floor:
        assert expected == pytest.approx(1.0, abs=1e-9)


@given(control=RATES, share=RATES, overlap=RATES, ratio=RATIOS, floor=FLOORS)
def test_every_bet_for_a_bad_candidate_expects_to_lose(
    control: float, share: float, overlap: float, ratio: float, floor: float
) -> None:
    control *= min(1.0, (1.0 - floor) / ratio)
    least = min(1.0, ratio * control + floor)
    candidate = least + share * (1.0 - least)
    factors = np.exp([paired.promote_increment(pair, ratio, floor) for pair in SINGLE])
    expected = np.array(cells(control, candidate, overlap)) @ factors
    assert (expected <= 1.0 + 1e-9).all()


@given(control=st.floats(0.0, 0.5), overlap=RATES, pairs=st.integers(1, 6))
def test_the_mixture_over_several_pairs_expects_at_most_1(control: float, overlap: float, pairs: int) -> None:
    ratio, floor = 1.1, 0.05
    chances = cells(control, ratio * control + floor, overlap)
    expected = 0.0
    for counts in product(range(pairs + 1), repeat=4):
        if sum(counts) == pairs:
            ways = math.factorial(pairs) / math.prod(map(math.factorial, counts))
            chance = ways * math.prod(p**n for p, n in zip(chances, counts, strict=True))
            log_e = log_mean(paired.rollback_increment(Pairs(*counts), ratio, floor), paired.WEIGHTS)
            expected += chance * math.exp(log_e)
    assert expected == pytest.approx(1.0, abs=1e-9)


@given(PAIRS, PAIRS, RATIOS, FLOORS)
def test_doses_may_be_merged_before_or_after(one: Pairs, other: Pairs, ratio: float, floor: float) -> None:
    for increment in (paired.rollback_increment, paired.promote_increment):
        apart = increment(one, ratio, floor) + increment(other, ratio, floor)
        assert increment(one + other, ratio, floor) == pytest.approx(apart, rel=1e-9, abs=1e-6)
    assert one + other == other + one


@given(PAIRS)
def test_without_tolerance_it_is_the_sign_test(pairs: Pairs) -> None:
    unequal = pairs.only_candidate + pairs.only_control
    expected = speed.rollback_increment(unequal, pairs.only_candidate)
    assert paired.rollback_increment(pairs, 1.0, 0.0) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_an_error_free_candidate_is_promoted_within_5000_pairs() -> None:
    good = paired.promote_increment(Pairs(neither=5_000), 1.5, 0.002)
    assert log_mean(good, paired.WEIGHTS) > math.log(20)


def test_a_candidate_that_fails_alone_is_found_within_500_pairs() -> None:
    bad = paired.rollback_increment(Pairs(only_candidate=10, both=5, neither=485), 1.1, 0.001)
    assert log_mean(bad, paired.WEIGHTS) > math.log(20)


def test_no_pairs_say_nothing() -> None:
    assert not paired.rollback_increment(Pairs(), 1.1, 0.001).any()
    assert not paired.promote_increment(Pairs(), 1.5, 0.002).any()


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        Pairs(only_candidate=3, neither=-1)


@pytest.mark.parametrize(
    ("ratio", "floor"),
    [(0.0, 0.001), (-1.0, 0.0), (math.nan, 0.0), (math.inf, 0.0), (1.1, -0.1), (1.1, 1.0), (1.1, math.nan)],
)
def test_a_tolerance_that_is_none_is_refused(ratio: float, floor: float) -> None:
    for increment in (paired.rollback_increment, paired.promote_increment):
        with pytest.raises(ValueError, match="positive ratio"):
            increment(Pairs(neither=1), ratio, floor)
