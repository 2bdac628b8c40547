"""An absolute limit: how soon it is known to be broken, and that it seldom seems so when it is not."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.evidence import limit
from streamsplit.core.evidence.mixture import log_mean, log_means
from streamsplit.core.evidence.restarts import Restarting

NEEDED = math.log(1000)
LIMITS = st.floats(1e-4, 0.999)


def requests_until_known(rate: float, *, runs: int = 2000, most: int = 400) -> np.ndarray:
    """Requests after which a limit of 20 % is known to be broken, one number a run; `most` where it is not by then."""
    failed = np.random.default_rng(7).random((runs, most)) < rate
    evidence = limit.increment(np.broadcast_to(np.arange(1, most + 1), failed.shape), failed.cumsum(axis=1), 0.2)
    known = log_means(evidence, limit.WEIGHTS) >= NEEDED
    return np.where(known.any(axis=1), known.argmax(axis=1) + 1, most)


def test_a_candidate_that_always_fails_is_known_after_six_requests() -> None:
    evidence = [log_mean(limit.increment(n, n, 0.2), limit.WEIGHTS) for n in range(1, 7)]
    assert [known >= NEEDED for known in evidence] == [False] * 5 + [True]


@pytest.mark.parametrize(("rate", "expected"), [(0.8, 10.5), (0.5, 38.0)])
def test_a_candidate_that_often_fails_is_known_after_few_requests(rate: float, expected: float) -> None:
    assert requests_until_known(rate).mean() == pytest.approx(expected, rel=0.05)


def test_a_candidate_at_its_limit_is_seldom_taken_for_worse() -> None:
    """At most 1 in 1000 may be; more than 9 of 2000 would have a chance below 1e-4."""
    assert (requests_until_known(0.2) < 400).sum() <= 9


def test_failing_from_the_first_request_is_known_after_six_with_restarts_too() -> None:
    evidence = Restarting(limit.WEIGHTS)
    known = [evidence.peek(limit.increment(n, n, 0.2)) >= NEEDED for n in range(1, 7)]
    assert known == [False] * 5 + [True]


@pytest.mark.parametrize("summaries", [100, 10_000])
def test_failing_late_is_known_after_few_requests_where_every_summary_is_a_start(summaries: int) -> None:
    evidence = Restarting(limit.WEIGHTS, every=1)
    for _ in range(summaries):
        evidence.add(limit.increment(20, 0, 0.2))
    assert evidence.peek(limit.increment(17, 17, 0.2)) >= NEEDED


def test_failing_between_starts_takes_more_than_a_thousand_requests() -> None:
    """Why limits begin anew with each summary: bets that began nine windows ago have lost too much."""
    evidence = Restarting(limit.WEIGHTS)
    for _ in range(9):
        evidence.add(limit.increment(500, 5, 0.2))
    assert evidence.peek(limit.increment(1200, 1200, 0.2)) < NEEDED


@given(st.integers(0, 12), LIMITS, st.floats(0.0, 1.0))
def test_no_bet_gains_where_the_limit_holds(requests: int, allowed: float, inside: float) -> None:
    """By exact enumeration, at the limit (`inside` = 1) and below it."""
    rate = inside * allowed
    bad = np.arange(requests + 1)
    chances = np.array([math.comb(requests, x) * rate**x * (1.0 - rate) ** (requests - x) for x in bad])
    wealth = chances @ np.exp(limit.increment(np.full_like(bad, requests), bad, allowed))
    assert wealth.max() <= 1.0 + 1e-9


@given(st.lists(st.booleans(), max_size=50), LIMITS)
def test_requests_count_the_same_one_by_one_or_together(failed: list[bool], allowed: float) -> None:
    one_by_one = sum((limit.increment(1, int(bad), allowed) for bad in failed), np.zeros(len(limit.WEIGHTS)))
    assert one_by_one == pytest.approx(limit.increment(len(failed), sum(failed), allowed), abs=1e-9)


@given(st.integers(0, 10**15), st.floats(0.0, 1.0), LIMITS)
def test_evidence_is_finite_whatever_was_counted(requests: int, share: float, allowed: float) -> None:
    bad = min(requests, int(share * requests))
    assert np.isfinite(limit.increment(requests, bad, allowed)).all()


@pytest.mark.parametrize("impossible", [0.0, 1.0, -0.1, 1.1, math.nan])
def test_a_limit_that_nothing_or_everything_breaks_is_refused(impossible: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        limit.increment(10, 1, impossible)


@pytest.mark.parametrize(("requests", "bad"), [(10, 11), (10, -1), (-1, -1)])
def test_impossible_counts_are_refused(requests: int, bad: int) -> None:
    with pytest.raises(ValueError, match="0 <= bad <= requests"):
        limit.increment(requests, bad, 0.2)


@given(st.integers(1, 10**6), LIMITS)
def test_requests_that_are_bad_together_are_one_observation(requests: int, allowed: float) -> None:
    all_bad, none_bad = (limit.share_increment(requests, bad, allowed) for bad in (requests, 0))
    assert allowed * np.exp(all_bad) + (1 - allowed) * np.exp(none_bad) == pytest.approx(1.0, abs=1e-9)
    assert all_bad == pytest.approx(limit.increment(1, 1, allowed))
    assert none_bad == pytest.approx(limit.increment(1, 0, allowed))


@pytest.mark.parametrize(("requests", "bad"), [(0, 0), (5, 6), (5, -1)])
def test_shares_of_what_cannot_be_are_refused(requests: int, bad: int) -> None:
    with pytest.raises(ValueError, match="0 <= bad <= requests"):
        limit.share_increment(requests, bad, 0.01)
