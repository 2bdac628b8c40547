"""The log-bucket histogram: 1 % relative error, exact addition, nothing lost silently."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.histogram import BUCKETS, ERROR, GREATEST, LEAST, Histogram, bucket_of, quantile_of

IN_RANGE = st.floats(LEAST * 1.001, GREATEST)
ANY = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(IN_RANGE, min_size=1, max_size=60), st.integers(0, 8))
def test_a_quantile_is_within_one_percent_of_the_value_of_that_rank(values: list[float], eighths: int) -> None:
    found = Histogram().add(values).quantile(eighths / 8)
    exact = sorted(values)[max(math.ceil(eighths * len(values) / 8) - 1, 0)]
    assert found == pytest.approx(exact, rel=ERROR * (1 + 1e-9))


@given(st.lists(ANY, max_size=30), st.lists(ANY, max_size=30))
def test_merging_is_adding_and_subtracting_undoes_it(first: list[float], second: list[float]) -> None:
    one, other = Histogram().add(first), Histogram().add(second)
    both = one.merge(other)
    assert both == other.merge(one) == Histogram().add([*first, *second]) == one.add(second)
    assert both.subtract(other) == one
    assert both.count + both.refused == len(first) + len(second)


@given(st.lists(ANY, max_size=30))
def test_plain_survives_json(values: list[float]) -> None:
    histogram = Histogram().add(values)
    assert Histogram.from_plain(json.loads(json.dumps(histogram.to_plain(), allow_nan=False))) == histogram


@pytest.mark.parametrize(
    ("value", "quantile"),
    [(0.0, 0.0), (-0.0, 0.0), (LEAST / 2, 0.0), (LEAST, 0.0), (GREATEST * 1.01, math.inf), (math.inf, math.inf)],
)
def test_what_is_beside_the_range_stands_for_0_or_infinity(value: float, quantile: float) -> None:
    assert Histogram().add([value]).quantile(0.5) == quantile


@pytest.mark.parametrize("value", [math.nan, -1.0, -math.inf, -5e-324])
def test_what_is_no_size_is_counted_and_in_no_quantile(value: float) -> None:
    histogram = Histogram().add([value, 2.0])
    assert (histogram.refused, histogram.count) == (1, 1)
    assert histogram.quantile(0.0) == pytest.approx(2.0, rel=ERROR)


def test_without_values_there_is_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().add([math.nan]).quantile(0.5) is None


@pytest.mark.parametrize("q", [-0.01, 1.01, math.nan])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="quantile from 0 to 1"):
        Histogram().quantile(q)


def test_only_what_was_added_can_be_taken_away() -> None:
    with pytest.raises(ValueError, match="added to this one"):
        Histogram().add([1.0]).subtract(Histogram().add([2.0]))
    with pytest.raises(ValueError, match="added to this one"):
        Histogram().add([1.0]).subtract(Histogram().add([math.nan]))


@pytest.mark.parametrize(
    "plain",
    [
        {"buckets": [BUCKETS], "counts": [1], "refused": 0},
        {"buckets": [-1], "counts": [1], "refused": 0},
        {"buckets": [3], "counts": [-1], "refused": 0},
        {"buckets": [], "counts": [], "refused": -1},
    ],
)
def test_plain_that_is_no_histogram_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected buckets"):
        Histogram.from_plain(plain)


def test_buckets_rise_with_the_values_over_the_whole_range() -> None:
    buckets = bucket_of(np.geomspace(LEAST, GREATEST, 20_000))
    assert (np.diff(buckets) >= 0).all()
    assert (buckets[0], buckets[-1]) == (0, BUCKETS - 2)
    assert len(np.unique(buckets)) == BUCKETS - 1


def test_weights_may_be_fractions() -> None:
    weights = np.zeros(BUCKETS)
    weights[bucket_of(np.array([1.0, 10.0, 100.0]))] = [0.2, 0.2, 0.6]
    assert [round(quantile_of(weights, q) or 0.0) for q in (0.0, 0.1, 0.3, 0.5, 1.0)] == [1, 1, 10, 100, 100]
