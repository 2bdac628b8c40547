"""A rate beside its own level before: the bound of the level, and the evidence that the rate has risen."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.evidence import level, limit
from streamsplit.core.evidence.mixture import log_mean

RATES = st.floats(0.001, 0.9)


def expected_factor(rates: list[float], kept: list[float], tolerated: float) -> float:
    """E of the mixture's factor of a dose in which each request has a rate and a part of its own, by enumeration."""
    mean = 0.0
    for failed in product((0, 1), repeat=len(rates)):
        chance = math.prod(rate if bad else 1 - rate for rate, bad in zip(rates, failed, strict=True))
        said = sum(
            (level.increment(1, bad, tolerated, part) for bad, part in zip(failed, kept, strict=True)),
            np.zeros(len(level.WEIGHTS)),
        )
        mean += chance * math.exp(log_mean(said, level.WEIGHTS))
    return mean


@given(
    st.lists(st.tuples(RATES, st.floats(0.05, 1.0)), min_size=1, max_size=6),
    st.floats(0.0, 0.05),
)
def test_its_expectation_is_at_most_1_whatever_the_single_requests_rates_and_parts_where_their_mean_is_tolerated(
    requests: list[tuple[float, float]], spare: float
) -> None:
    rates, kept = [rate for rate, _ in requests], [part for _, part in requests]
    mean = sum(rate * part for rate, part in requests) / sum(kept)
    assert expected_factor(rates, kept, min(0.99, mean + spare)) <= 1 + 1e-9


def test_its_expectation_is_1_where_each_request_fails_as_often_as_is_tolerated() -> None:
    assert expected_factor([0.2] * 4, [1.0] * 4, 0.2) == pytest.approx(1.0, abs=1e-12)


def test_what_counts_in_full_is_a_likelihood_ratio_as_of_a_limit() -> None:
    tolerated = 0.1
    rates = np.minimum(tolerated * np.array([1.25, 1.5, 2, 3, 5, 10]), tolerated + 0.9 * (1 - tolerated))
    ratio = 7 * np.log(rates / tolerated) + 33 * np.log((1 - rates) / (1 - tolerated))
    assert level.increment(40, 7, tolerated) == pytest.approx(ratio, abs=1e-9)
    # the one rate that both grids have: tolerated + .9 (1 - tolerated)
    assert level.increment(40, 7, tolerated)[-1] == pytest.approx(limit.increment(40, 7, tolerated)[-1], abs=1e-9)


@given(st.integers(1, 40), st.floats(0.01, 0.99), st.sampled_from([0.2, 0.05, 0.0005]))
def test_the_bound_of_a_level_is_below_it_with_no_more_than_its_chance(
    requests: int, rate: float, alpha: float
) -> None:
    below = sum(
        math.comb(requests, errors) * rate**errors * (1 - rate) ** (requests - errors)
        for errors in range(requests + 1)
        if level.upper_bound(requests, errors, alpha) < rate
    )
    assert below <= alpha + 1e-12


def test_the_bound_without_an_error_has_a_closed_form() -> None:
    assert level.upper_bound(500, 0, 0.001) == pytest.approx(1 - 0.001 ** (1 / 500), abs=1e-12)


@pytest.mark.parametrize(("requests", "errors", "bound"), [(0, 0, 1.0), (7, 7, 1.0)])
def test_what_was_not_measured_is_bounded_by_nothing(requests: int, errors: int, bound: float) -> None:
    assert level.upper_bound(requests, errors, 0.001) == bound


def test_more_requests_and_fewer_errors_lower_the_bound() -> None:
    bounds = [level.upper_bound(requests, requests // 100, 0.0005) for requests in (200, 2_000, 20_000, 2_000_000)]
    assert bounds == sorted(bounds, reverse=True)
    assert 0.01 < bounds[-1] < 0.0103
    errors = [level.upper_bound(1000, errors, 0.0005) for errors in range(1001)]
    assert errors == sorted(errors)


def test_windows_of_independent_requests_scatter_by_1_and_errors_that_come_by_tens_by_10() -> None:
    generator = np.random.default_rng(1)
    single, tens = (
        [level.spread([1000] * 20, (k * generator.poisson(10 / k, 20)).tolist()) for _ in range(300)] for k in (1, 10)
    )
    assert 1 <= float(np.mean(single)) < 1.3
    assert float(np.mean(tens)) == pytest.approx(10, rel=0.1)
    assert min(single) >= 1


def test_a_scatter_raises_the_bound_as_fewer_requests_do() -> None:
    assert level.upper_bound(1000, 50, 0.001, 5.0) == pytest.approx(level.upper_bound(200, 10, 0.001), abs=1e-12)


@pytest.mark.parametrize(
    ("requests", "errors"), [([], []), ([10], [5]), ([10, 10], [0, 0]), ([10, 10], [10, 10]), ([10, 90], [1, 9])]
)
def test_what_does_not_scatter_more_than_chance_has_a_scatter_of_1(requests: list[int], errors: list[int]) -> None:
    assert level.spread(requests, errors) == 1.0


@pytest.mark.parametrize("scatter", [0.9, 0.0, math.nan, math.inf])
def test_a_scatter_below_1_is_refused(scatter: float) -> None:
    with pytest.raises(ValueError, match="scatter"):
        level.upper_bound(10, 1, 0.1, scatter)


@pytest.mark.parametrize(
    ("counts", "tolerated", "kept"),
    [
        ((5, 6), 0.1, 1.0),
        ((5, -1), 0.1, 1.0),
        ((5, 1), 0.0, 1.0),
        ((5, 1), 1.0, 1.0),
        ((5, 1), 0.1, 0.0),
        ((5, 1), 0.1, 1.1),
    ],
)
def test_what_cannot_be_is_refused(counts: tuple[int, int], tolerated: float, kept: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        level.increment(*counts, tolerated, kept)


@pytest.mark.parametrize(("requests", "errors", "alpha"), [(5, 6, 0.1), (-1, 0, 0.1), (5, 1, 0.0), (5, 1, 1.0)])
def test_a_level_that_cannot_be_is_refused(requests: int, errors: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        level.upper_bound(requests, errors, alpha)
