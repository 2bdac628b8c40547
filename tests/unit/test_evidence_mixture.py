"""The log of a mixture's wealth: never NaN, never infinite for want of range."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from streamsplit.core.evidence.mixture import log_mean, log_means, uniform

WEALTHS = st.floats(-1e300, 1e300)
WEIGHTS = st.floats(0.0, 1.0)


@given(st.lists(st.tuples(WEALTHS | st.floats(-50, 50) | st.just(-math.inf), WEIGHTS), min_size=1, max_size=20))
def test_a_mixture_is_the_log_of_the_weighted_sum(bets: list[tuple[float, float]]) -> None:
    log_wealth, weights = np.array(bets).T
    weights[0] += 1e-3
    told = weights > 0  # scipy itself has NaN for a huge bet without a weight
    with np.errstate(divide="ignore"):
        expected = logsumexp(log_wealth[told], b=weights[told])
    assert log_mean(log_wealth, weights) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(st.lists(st.tuples(WEALTHS, WEIGHTS), min_size=1, max_size=20))
def test_finite_bets_make_a_finite_mixture(bets: list[tuple[float, float]]) -> None:
    log_wealth, weights = np.array(bets).T
    weights[0] += 1e-300
    assert math.isfinite(log_mean(log_wealth, weights))


def test_a_bet_without_a_weight_counts_for_nothing() -> None:
    assert log_mean(np.array([1e6, 2.0, -math.inf]), np.array([0.0, 1.0, 0.0])) == 2.0


def test_bets_that_lost_everything_leave_nothing() -> None:
    assert log_mean(np.full(3, -math.inf), uniform(3)) == -math.inf
    assert log_mean(np.array([-math.inf, 0.0]), uniform(2)) == pytest.approx(math.log(0.5))


def test_rows_are_mixed_each_for_itself() -> None:
    rows = np.array([[0.0, 1.0], [-math.inf, -math.inf], [800.0, -800.0]])
    weights = np.array([0.25, 0.75])
    assert log_means(rows, weights).tolist() == [log_mean(row, weights) for row in rows]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_no_bet_can_be_worth_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite or -inf"):
        log_mean(np.array([0.0, bad]), uniform(2))


def test_a_mixture_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive weight"):
        log_mean(np.zeros(2), np.zeros(2))
