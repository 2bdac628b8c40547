"""The interval that people see: it covers the truth however often it is looked at, and always is one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.evidence import interval
from streamsplit.core.evidence.errors import CountColumns, Counts

COUNTS = st.tuples(*[st.integers(0, 10**12)] * 4).map(lambda n: Counts(n[0] + n[1], n[1], n[2] + n[3], n[3]))


def covered(ratio: float, *, runs: int, looks: int, alpha: float) -> float:
    """Share of runs whose interval holds the true ratio at every look, with changing shares and base rates."""
    g = np.random.default_rng(11)
    share, base = g.choice([0.1, 0.25, 0.5], (runs, looks)), g.uniform(0.005, 0.05, (runs, looks))
    candidate = g.binomial(1000, share)
    doses = CountColumns(
        control=(1000 - candidate).ravel(),
        control_errors=g.binomial(1000 - candidate, base).ravel(),
        candidate=candidate.ravel(),
        candidate_errors=g.binomial(candidate, ratio * base).ravel(),
    )
    paths = interval.increment(doses).reshape(runs, looks, -1).cumsum(axis=1)
    ends = np.array([[interval.of(path, alpha) for path in run] for run in paths])
    return float(((ends[..., 0] <= ratio) & (ratio <= ends[..., 1])).all(axis=1).mean())


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.7])
def test_the_true_ratio_is_inside_at_every_look(ratio: float) -> None:
    """At alpha .2, which leaves the truth outside more often than anybody would want: the check can fail."""
    assert covered(ratio, runs=150, looks=20, alpha=0.2) >= 0.8


def test_without_evidence_every_ratio_is_possible() -> None:
    nothing = interval.increment(Counts(1000, 0, 0, 0))
    assert nothing.tolist() == [0.0] * 64
    assert interval.of(nothing, 0.05) == (1 / 16, 16.0)
    assert interval.of(interval.increment(Counts(1000, 0, 1000, 0)), 0.05) == (1 / 16, 16.0)


def test_more_requests_make_it_narrower_around_the_truth() -> None:
    small, large = (interval.of(interval.increment(Counts(900 * n, 9 * n, 100 * n, 2 * n)), 0.05) for n in (10, 1000))
    assert small[0] < large[0] < 2.0 < large[1] < small[1]
    assert large[1] / large[0] < 1.5


def test_a_ratio_beyond_the_grid_leaves_its_last_stretch() -> None:
    ratios = interval.RATIOS.tolist()
    far_worse = interval.increment(Counts(10**6, 10, 10**6, 10**5))
    far_better = interval.increment(Counts(10**6, 10**5, 10**6, 10))
    assert interval.of(far_worse, 0.05) == (ratios[-2], ratios[-1])
    assert interval.of(far_better, 0.05) == (ratios[0], ratios[1])


@given(COUNTS, st.floats(1e-6, 0.5))
def test_there_always_is_an_interval_and_the_likeliest_ratio_is_in_it(counts: Counts, alpha: float) -> None:
    accumulated = interval.increment(counts)
    low, high = interval.of(accumulated, alpha)
    assert 1 / 16 <= low < high <= 16.0
    assert low <= interval.RATIOS[accumulated.argmax()] <= high


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.5])
def test_a_ratio_is_excluded_once_the_evidence_against_it_reaches_one_over_alpha(alpha: float) -> None:
    """Each of the grid by the definition, in probabilities and without logs of their own."""
    doses = (Counts(900, 9, 100, 4), Counts(750, 7, 250, 6), Counts(250, 3, 750, 20))
    likelihood = np.ones(64)
    for dose in doses:
        chance = dose.candidate * interval.RATIOS / (dose.candidate * interval.RATIOS + dose.control)
        likelihood *= chance**dose.candidate_errors * (1.0 - chance) ** dose.control_errors
    inside = interval.RATIOS[likelihood.mean() / likelihood < 1.0 / alpha].tolist()
    low, high = interval.of(sum((interval.increment(dose) for dose in doses), np.zeros(64)), alpha)
    assert [ratio for ratio in interval.RATIOS.tolist() if low < ratio < high] == inside


@given(COUNTS)
def test_a_smaller_alpha_never_makes_it_narrower(counts: Counts) -> None:
    accumulated = interval.increment(counts)
    sure, less_sure = interval.of(accumulated, 0.01), interval.of(accumulated, 0.2)
    assert sure[0] <= less_sure[0]
    assert less_sure[1] <= sure[1]


def test_exchanged_arms_have_the_inverse_interval() -> None:
    low, high = interval.of(interval.increment(Counts(9000, 90, 1000, 25)), 0.05)
    inverse = interval.of(interval.increment(Counts(1000, 25, 9000, 90)), 0.05)
    assert inverse == pytest.approx((1 / high, 1 / low))


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_an_impossible_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        interval.of(np.zeros(64), alpha)
