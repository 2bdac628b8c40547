"""The split of requests: its figures, that it is an e-value whatever the doses, and how soon it finds a mismatch."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsplit.core.evidence import split
from streamsplit.core.evidence.restarts import EVERY, slow_weight
from streamsplit.core.evidence.split import MOST, Split

SHARES = st.floats(0.0001, 0.9999)
DOSES = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500), SHARES), max_size=60)


def fed(doses: list[tuple[int, int, float]]) -> Split:
    evidence = Split()
    for candidate, control, share in doses:
        evidence.add(candidate, candidate + control, share)
    return evidence


def chance(candidate: int, requests: int, share: float) -> float:
    return math.comb(requests, candidate) * share**candidate * (1 - share) ** (requests - candidate)


def test_the_e_value_is_the_published_beta_binomial() -> None:
    assert split.log_e(100, 1000, 0.1) == pytest.approx(-0.346995, abs=1e-6)
    assert split.log_e(150, 1000, 0.1) == pytest.approx(6.042290, abs=1e-6)


@given(st.integers(0, 30), SHARES, st.floats(0.5, 5000))
def test_the_expected_e_value_of_a_count_is_one_where_the_split_is_as_it_should_be(
    requests: int, share: float, concentration: float
) -> None:
    expected = math.fsum(
        chance(candidate, requests, share) * math.exp(split.log_e(candidate, requests, share, concentration))
        for candidate in range(requests + 1)
    )
    assert expected == pytest.approx(1, abs=1e-9)


@given(DOSES, st.integers(0, 12), SHARES)
def test_whatever_came_before_the_expected_factor_of_the_next_dose_is_one(
    doses: list[tuple[int, int, float]], requests: int, share: float
) -> None:
    """So the process is a martingale: with restarts, changed shares and bettors that became one."""
    before = fed(doses)
    plain = before.to_plain()

    def after(candidate: int) -> float:
        evidence = Split.from_plain(plain)
        evidence.add(candidate, requests, share)
        return math.exp(evidence.log_e - before.log_e)

    expected = math.fsum(chance(candidate, requests, share) * after(candidate) for candidate in range(requests + 1))
    assert expected == pytest.approx(1, abs=1e-7)


def test_with_one_share_and_before_a_restart_doses_add_up_to_the_formula() -> None:
    evidence = fed([(150, 850, 0.1), (90, 910, 0.1), (131, 869, 0.1)])
    whole = split.log_e(371, 3000, 0.1)
    assert evidence.log_e == pytest.approx(math.log(slow_weight(0) * math.exp(whole) + 1 - slow_weight(0)), abs=1e-9)


def test_what_was_learnt_at_one_share_holds_at_another() -> None:
    """Every tenth record of the candidate is lost: its odds are .9 of the expected ones at any share."""

    def lossy(share: float) -> tuple[int, int, float]:
        control, candidate = round(10_000 * (1 - share)), round(9_000 * share)
        return candidate, control, share

    steady = fed([lossy(0.25)] * 8)
    moving = fed([lossy(share) for share in (0.1, 0.25, 0.5, 0.25, 0.1, 0.25, 0.5, 0.25)])
    assert moving.log_e > 0.8 * steady.log_e > math.log(1000)


def test_a_mismatch_is_found_within_6500_requests_on_average() -> None:
    generator = np.random.default_rng(20)
    found = []
    for _ in range(300):
        evidence, requests = Split(), 0
        while evidence.log_e < math.log(1000):
            evidence.add(int(generator.binomial(1000, 0.12)), 1000, 0.1)
            requests += 1000
        found.append(requests)
    assert np.mean(found) < 6500


def test_a_mismatch_that_begins_after_a_thousand_windows_is_found_nearly_as_soon() -> None:
    generator = np.random.default_rng(21)
    evidence = fed([(int(candidate), 1000 - int(candidate), 0.1) for candidate in generator.binomial(1000, 0.1, 1000)])
    windows = 0
    while evidence.log_e < math.log(1000):
        evidence.add(int(generator.binomial(1000, 0.12)), 1000, 0.1)
        windows += 1
    assert windows <= 25
    whole = split.log_e(100_000 + 120 * windows, 1_000_000 + 1000 * windows, 0.1)
    assert whole < 0, "without restarts it would still be unknown"


def test_memory_is_bounded_and_the_bettors_stay_spread_over_the_past() -> None:
    evidence = fed([(10, 90, 0.1)] * (EVERY * MOST * 8))
    ages = [evidence._doses - since for since in evidence._since]
    assert len(ages) == MOST
    assert ages[0] == EVERY * MOST * 8
    assert max(older / younger for older, younger in pairwise(ages[3:-3])) < 2
    assert len(json.dumps(evidence.to_plain())) < 3000


def test_every_beta_grows_as_the_gamma_function_says() -> None:
    bases = np.array([0.01, 0.5, 3.0, 31.9, 32.0, 33.0, 100.0, 1e4, 1e6]) * np.ones((3, 1))
    counts = np.array([[0.0], [3.0], [4000.0]])
    plain = [[math.lgamma(base + count) - math.lgamma(base) for base in bases[0]] for (count,) in counts]
    assert split._log_rising(bases, counts) == pytest.approx(np.array(plain), rel=1e-9, abs=1e-8)


@settings(max_examples=30)
@given(DOSES, DOSES)
def test_what_is_written_and_read_again_goes_on_alike(
    first: list[tuple[int, int, float]], then: list[tuple[int, int, float]]
) -> None:
    evidence = fed(first)
    again = Split.from_plain(json.loads(json.dumps(evidence.to_plain())))
    for candidate, control, share in then:
        evidence.add(candidate, candidate + control, share)
        again.add(candidate, candidate + control, share)
    assert again.to_plain() == evidence.to_plain()


def test_large_counts_lose_nothing_to_rounding() -> None:
    """One candidate request more or less beside a thousand million: the next dose's factor is known exactly."""
    share, before = 0.5, 2_000_000_000
    (learnt,) = split._log_factors(np.array([[before / 2], [before / 2]]), 30, 30, share)
    exact = sum(math.log1p(i / (before / 2)) for i in range(30)) * 2
    exact -= sum(math.log1p(i / before) for i in range(60))
    assert learnt == pytest.approx(exact, abs=1e-11)


@pytest.mark.parametrize(("candidate", "requests", "share"), [(0, 0, 0.1), (5, 5, 1.0), (0, 5, 0.0)])
def test_what_leaves_nothing_to_chance_adds_nothing(candidate: int, requests: int, share: float) -> None:
    evidence = Split()
    evidence.add(candidate, requests, share)
    assert evidence.log_e == split.log_e(candidate, requests, share) == 0


@pytest.mark.parametrize(("candidate", "requests", "share"), [(-1, 5, 0.1), (6, 5, 0.1), (1, 5, 1.1), (1, 5, math.nan)])
def test_impossible_counts_are_refused(candidate: int, requests: int, share: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Split().add(candidate, requests, share)
