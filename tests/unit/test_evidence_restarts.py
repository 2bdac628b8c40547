"""Restarts: the published numbers, an e-value's null, late regressions, and a state that survives being written."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamsplit.core.evidence import errors
from streamsplit.core.evidence.errors import CountColumns, Counts
from streamsplit.core.evidence.mixture import log_mean, uniform
from streamsplit.core.evidence.restarts import Restarting, slow_weight

NEEDED = math.log(20)
INCREMENTS = st.lists(
    st.lists(st.floats(-50, 50) | st.just(-math.inf), min_size=3, max_size=3).map(np.array), min_size=1, max_size=40
)


def basel(start: int) -> float:
    """The oracle's weights, which sum to 1."""
    return 6.0 / (math.pi**2 * (start + 1) ** 2)


def plainly(increments: list[NDArray[np.float64]], every: int) -> float:
    """The same by definition: a process of its own for each start, none in logs."""
    starts = range(0, len(increments), every)
    cash = 1.0 - math.fsum(slow_weight(index) for index in range(len(starts)))
    wealth = [slow_weight(k) * np.exp(sum(increments[s:], np.zeros(3))).mean() for k, s in enumerate(starts)]
    return math.log(cash + math.fsum(wealth))


def test_evidence_with_restarts_is_the_published_one() -> None:
    evidence = Restarting(uniform(6), every=1, start_weight=basel)
    dose = errors.rollback_increment(Counts(900, 9, 100, 4), 1.0, 0.0)
    found = []
    for _ in range(3):
        evidence.add(dose)
        found.append(evidence.log_e)
    assert found == pytest.approx([1.137500, 2.821902, 4.717189], abs=1e-6)


@given(INCREMENTS, st.integers(1, 12))
def test_one_running_mixture_is_all_the_started_ones(increments: list[NDArray[np.float64]], every: int) -> None:
    evidence = Restarting(uniform(3), every=every)
    for increment in increments:
        evidence.add(increment)
    assert evidence.log_e == pytest.approx(plainly(increments, every), rel=1e-9, abs=1e-9)


def test_nothing_seen_is_no_evidence() -> None:
    evidence = Restarting(uniform(4))
    assert evidence.log_e == 0.0
    for _ in range(100):
        evidence.add(np.zeros(4))
        assert evidence.log_e == pytest.approx(0.0, abs=1e-12)


def test_all_starts_together_get_no_more_than_there_is() -> None:
    """The sum of 1 / (n ln^2 n) beyond N is below 1 / ln N."""
    count = 200_000
    total = math.fsum(map(slow_weight, range(count))) + 0.473991 / math.log(count + 1)
    assert 0.99999 < total <= 1.0


def test_no_e_value_above_one_is_expected_from_a_fair_bet() -> None:
    """By enumeration of all 2^10 ways in which ten windows can end, each as likely as the other."""
    steps = np.array([[math.log(1.5), math.log(1.9)], [math.log(0.5), math.log(0.1)]])
    wealth = []
    for way in range(2**10):
        evidence = Restarting(uniform(2), every=3)
        for window in range(10):
            evidence.add(steps[way >> window & 1])
        wealth.append(math.exp(evidence.log_e))
    assert np.mean(wealth) == pytest.approx(1.0, abs=1e-12)


@given(INCREMENTS, st.integers(1, 12))
def test_a_look_ahead_is_what_adding_would_say_and_changes_nothing(
    increments: list[NDArray[np.float64]], every: int
) -> None:
    evidence = Restarting(uniform(3), every=every)
    for increment in increments:
        before = evidence.to_plain()
        ahead = evidence.peek(increment)
        assert evidence.to_plain() == before
        evidence.add(increment)
        assert evidence.log_e == ahead


@given(st.integers(0, 25), st.integers(1, 60), st.integers(1, 12))
def test_windows_that_say_nothing_may_be_added_at_once(before: int, windows: int, every: int) -> None:
    at_once, one_by_one = Restarting(uniform(3), every=every), Restarting(uniform(3), every=every)
    increment = np.array([0.3, -2.0, 1.0])
    for evidence in (at_once, one_by_one):
        for _ in range(before):
            evidence.add(increment)
    at_once.add(increment, windows)
    for _ in range(windows - 1):
        one_by_one.add(np.zeros(3))
    one_by_one.add(increment)
    assert at_once.windows == one_by_one.windows == before + windows
    assert at_once.log_e == pytest.approx(one_by_one.log_e, abs=1e-12)
    at_once.add(increment, every)
    one_by_one.add(increment, every)
    assert at_once.log_e == pytest.approx(one_by_one.log_e, abs=1e-12)


@given(INCREMENTS, INCREMENTS, st.integers(1, 12))
def test_evidence_read_back_goes_on_bit_for_bit(
    before: list[NDArray[np.float64]], after: list[NDArray[np.float64]], every: int
) -> None:
    evidence = Restarting(uniform(3), every=every)
    for increment in before:
        evidence.add(increment)
    read = Restarting.from_plain(json.loads(json.dumps(evidence.to_plain(), allow_nan=False)))
    assert read.to_plain() == evidence.to_plain()
    for increment in after:
        evidence.add(increment)
        read.add(increment)
    assert read.to_plain() == evidence.to_plain()
    assert read.log_e == evidence.log_e


def test_evidence_that_never_began_can_be_read_back() -> None:
    fresh = Restarting(uniform(3))
    assert Restarting.from_plain(fresh.to_plain()).log_e == 0.0


@pytest.mark.parametrize("each", [-100.0, 100.0])
def test_a_million_windows_are_no_strain(each: float) -> None:
    """Log-wealth of a hundred million either way, then evidence that must still be seen."""
    evidence = Restarting(uniform(3))
    for _ in range(100):
        evidence.add(np.full(3, each * 1e4), 10_000)
    assert evidence.windows == 10**6
    assert evidence.log_e == pytest.approx(each * 1e6, rel=1e-6) if each > 0 else -4.0 < evidence.log_e < 0.0
    evidence.add(np.full(3, 40.0))
    assert evidence.log_e > 20.0


def test_a_late_regression_is_found_in_less_than_half_the_windows() -> None:
    """Twice the errors from window 500 on, base 1 %, half of 1000 requests a window each."""
    start, most, runs = 500, 300, 8
    g = np.random.default_rng(5)
    with_restarts, without = [], []
    for _ in range(runs):
        candidate = g.binomial(1000, 0.5, start + most)
        rate = np.where(np.arange(start + most) < start, 0.01, 0.02)
        doses = CountColumns(
            1000 - candidate, g.binomial(1000 - candidate, 0.01), candidate, g.binomial(candidate, rate)
        )
        increments = errors.rollback_increment(doses, 1.0, 0.0)
        evidence = Restarting(errors.ROLLBACK_WEIGHTS)
        for window, increment in enumerate(increments):
            evidence.add(increment)
            if window >= start and evidence.log_e >= NEEDED:
                break
        with_restarts.append(window - start + 1)
        paths = increments.cumsum(axis=0)[start:]
        known = [log_mean(path, errors.ROLLBACK_WEIGHTS) >= NEEDED for path in paths]
        without.append(known.index(True) + 1)
    assert np.mean(with_restarts) < 25
    assert np.mean(with_restarts) < np.mean(without) / 2


@pytest.mark.parametrize(
    ("increment", "windows"),
    [(np.zeros(2), 1), (np.array([0.0, 0.0, math.nan]), 1), (np.array([0.0, 0.0, math.inf]), 1), (np.zeros(3), 0)],
)
def test_what_is_no_increment_is_refused_and_changes_nothing(increment: NDArray[np.float64], windows: int) -> None:
    evidence = Restarting(uniform(3))
    evidence.add(np.ones(3))
    before = evidence.to_plain()
    with pytest.raises(ValueError, match="expected"):
        evidence.add(increment, windows)
    assert evidence.to_plain() == before


def test_starts_that_get_more_than_there_is_are_refused() -> None:
    evidence = Restarting(uniform(3), every=1, start_weight=lambda _: 0.4)
    evidence.add(np.zeros(3), 2)
    with pytest.raises(ValueError, match="sum to at most 1"):
        evidence.add(np.zeros(3))


@pytest.mark.parametrize(
    "change",
    [
        {"cash": "much"},
        {"cash": "1.5"},
        {"cash": None},
        {"log_wealth": ["0.0"]},
        {"log_wealth": ["nan"] * 3},
        {"every": 0},
    ],
)
def test_a_state_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="plain form"):
        Restarting.from_plain(Restarting(uniform(3)).to_plain() | change)
