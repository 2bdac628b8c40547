"""The sign test over probes, and its interval: never a probe lost, exact under peeking."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamsplit.core.evidence import speed
from streamsplit.core.evidence.mixture import log_mean, log_means

NAN, INF = math.nan, math.inf
TIMES = st.lists(st.tuples(st.integers(-5, 2_000), st.integers(-5, 2_000), st.booleans(), st.booleans()), max_size=40)


Probe = tuple[float, float, bool, bool]
"""Control's and the candidate's microseconds, and which of them was over its budget."""


def mask(probes: Sequence[Probe], ratio: float, floor: float, *, in_doubt: bool) -> list[bool]:
    micros = np.array([probe[:2] for probe in probes], np.float64).reshape(-1, 2)
    over = np.array([probe[2:] for probe in probes], np.bool_).reshape(-1, 2)
    control, candidate = micros[:, 0], micros[:, 1]
    slower = speed.slower(
        control, candidate, ratio, floor, control_over=over[:, 0], candidate_over=over[:, 1], in_doubt=in_doubt
    )
    return [bool(each) for each in slower]


def bins(probes: Sequence[Probe]) -> NDArray[np.int64]:
    micros = np.array([probe[:2] for probe in probes], np.float64).reshape(-1, 2)
    over = np.array([probe[2:] for probe in probes], np.bool_).reshape(-1, 2)
    places = speed.ratio_places(micros[:, 0], micros[:, 1], control_over=over[:, 0], candidate_over=over[:, 1])
    return np.bincount(places, minlength=len(speed.RATIOS) + 2)


def plain_bins(ratios: NDArray[np.float64]) -> NDArray[np.int64]:
    return bins([(1e6, 1e6 * ratio, False, False) for ratio in ratios.tolist()])


@pytest.mark.parametrize(("probes", "slower", "log_e"), [(30, 24, 4.523506), (30, 15, -1.021837)])
def test_the_oracles(probes: int, slower: int, log_e: float) -> None:
    assert log_mean(speed.rollback_increment(probes, slower), speed.WEIGHTS) == pytest.approx(log_e, abs=1e-6)
    turned = log_mean(speed.promote_increment(probes, probes - slower), speed.WEIGHTS)
    assert turned == pytest.approx(log_e, abs=1e-6)


@given(st.integers(1, 60), st.floats(0.0, 0.5))
def test_the_expected_e_value_is_at_most_1(probes: int, chance: float) -> None:
    """By enumeration; at the edge of the null it is 1."""
    slower = np.arange(probes + 1)
    ways = np.array([math.comb(probes, each) for each in slower.tolist()], np.float64)
    chances = ways * chance**slower * (1.0 - chance) ** (probes - slower)
    many = np.full(probes + 1, probes)
    rollback = chances @ np.exp(log_means(speed.rollback_increment(many, slower), speed.WEIGHTS))
    promote = chances @ np.exp(log_means(speed.promote_increment(many, probes - slower), speed.WEIGHTS))
    assert max(rollback, promote) <= 1.0 + 1e-9
    if chance == 0.5:
        assert (rollback, promote) == pytest.approx((1.0, 1.0), abs=1e-9)


def chance_of_an_alarm(probes: int, alpha: float, times: int) -> float:
    """Exact: the chance that a candidate as fast as control is ever taken back, looked at after every probe.

    Args:
        probes: How many at most.
        alpha: What is promised.
        times: How often each probe is counted; more than once is a fault.
    """
    alive = np.ones(1)
    for count in range(1, probes + 1):
        alive = 0.5 * (np.append(alive, 0.0) + np.append(0.0, alive))
        slower = np.arange(count + 1) * times
        log_e = log_means(speed.rollback_increment(np.full(count + 1, count * times), slower), speed.WEIGHTS)
        alive[log_e >= -math.log(alpha)] = 0.0
    return 1.0 - float(alive.sum())


@pytest.mark.parametrize("alpha", [0.05, 0.025])
def test_a_healthy_candidate_looked_at_after_every_probe_is_taken_back_with_at_most_alpha(alpha: float) -> None:
    assert 0.2 * alpha < chance_of_an_alarm(400, alpha, times=1) <= alpha


def test_counting_each_probe_twice_would_break_that_promise() -> None:
    assert chance_of_an_alarm(400, 0.05, times=2) > 0.1


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=6))
def test_doses_may_be_merged_before_or_after(doses: list[tuple[int, int]]) -> None:
    slower = np.array([dose[0] for dose in doses])
    probes = slower + np.array([dose[1] for dose in doses])
    for increment in (speed.rollback_increment, speed.promote_increment):
        apart = increment(probes, slower)
        assert increment(int(probes.sum()), int(slower.sum())) == pytest.approx(apart.sum(axis=0), abs=1e-6)
        assert apart[0] == pytest.approx(increment(int(probes[0]), int(slower[0])))


@pytest.mark.parametrize(("probes", "slower"), [(3, 4), (3, -1), (-1, -1)])
def test_counts_that_are_none_are_refused(probes: int, slower: int) -> None:
    for increment in (speed.rollback_increment, speed.promote_increment):
        with pytest.raises(ValueError, match="0 <= slower <= probes"):
            increment(probes, slower)


@pytest.mark.parametrize(
    ("probe", "rollback", "promote"),
    [
        ((10_000, 13_900, False, False), False, False),  # 1.2 times and 2 ms are tolerated
        ((10_000, 14_000, False, False), False, False),
        ((10_000, 14_001, False, False), True, True),
        ((100, 2_000, False, False), False, False),  # 20 times, and nobody minds
        ((0, 0, False, False), False, False),
        ((90_000, 100_000, False, True), True, True),  # alone over its budget
        ((90_000, INF, False, False), True, True),
        ((100_000, 90_000, True, False), False, False),
        ((INF, 90_000, False, False), False, True),  # of an infinite time nothing is known but that it was over
        ((10_000, 90_000, True, False), False, True),  # over another budget: control may have taken longer still
        ((100_000, 100_000, True, True), False, True),
        ((NAN, 10_000, False, False), False, True),
        ((10_000, NAN, False, False), False, True),
        ((-1, 10_000, False, False), False, True),
        ((10_000, -1, False, False), False, True),
        ((NAN, NAN, False, False), False, True),
    ],
)
def test_which_probes_are_slower(probe: Probe, *, rollback: bool, promote: bool) -> None:
    assert mask([probe], 1.2, 0.002, in_doubt=False) == [rollback]
    assert mask([probe], 1.2, 0.002, in_doubt=True) == [promote]


@given(TIMES, st.floats(1.0, 3.0), st.floats(0.0, 0.001))
def test_no_probe_is_dropped_and_doubt_only_ever_helps_the_null(
    probes: list[Probe], ratio: float, floor: float
) -> None:
    sure, unsure = mask(probes, ratio, floor, in_doubt=False), mask(probes, ratio, floor, in_doubt=True)
    assert len(sure) == len(unsure) == len(probes)
    assert all(doubted for known, doubted in zip(sure, unsure, strict=True) if known)


def test_a_candidate_that_hangs_in_most_runs_is_taken_back_although_it_is_fast_in_the_others() -> None:
    probes = [(10_000, 100_000, False, True)] * 90 + [(10_000, 1_000, False, False)] * 30
    slower = sum(mask(probes, 1.2, 0.002, in_doubt=False))
    assert log_mean(speed.rollback_increment(len(probes), slower), speed.WEIGHTS) > math.log(1 / 0.025)


def test_a_machine_that_stalls_both_arms_takes_nobody_back_and_promotes_nobody() -> None:
    probes = [(100_000, 100_000, True, True)] * 80 + [(10_000, 9_000, False, False)] * 20
    against, enough = (sum(mask(probes, 1.2, 0.0, in_doubt=doubt)) for doubt in (False, True))
    assert log_mean(speed.rollback_increment(100, against), speed.WEIGHTS) < 0
    assert log_mean(speed.promote_increment(100, enough), speed.WEIGHTS) < 0


def test_a_candidate_half_again_as_slow_is_found_within_60_probes_on_average() -> None:
    noise = np.random.Generator(np.random.PCG64(7)).normal(0.0, 0.25, (2, 200, 400))
    control, candidate = 10_000 * np.exp(noise[0]), 15_000 * np.exp(noise[1])
    none = np.zeros_like(control, bool)
    slower = speed.slower(control, candidate, 1.2, 0.0, control_over=none, candidate_over=none, in_doubt=False)
    looks = np.broadcast_to(np.arange(1, 401), slower.shape)
    log_e = log_means(speed.rollback_increment(looks, np.cumsum(slower, axis=1)), speed.WEIGHTS)
    found = log_e >= math.log(1 / 0.025)
    assert found.any(axis=1).all()
    assert (found.argmax(axis=1) + 1).mean() <= 60


@given(TIMES, TIMES)
def test_bins_of_ratios_add_and_hold_every_probe(one: list[Probe], other: list[Probe]) -> None:
    assert (bins(one) + bins(other)).tolist() == bins([*other, *one]).tolist()
    assert bins(one).sum() == len(one)


@pytest.mark.parametrize(
    ("probe", "place"),
    [
        ((1_000, 1_000, False, False), 128),
        ((1_000, 16_001, False, False), 257),
        ((1_000, 16_000, False, False), 256),
        ((16_001, 1_000, False, False), 0),
        ((0, 0, False, False), 128),
        ((1_000, 1_000, False, True), 257),
        ((1_000, INF, False, False), 257),
        ((1_000, 1_000, True, False), 0),
        ((1_000, 1_001, True, False), 258),
        ((INF, 1_000, False, False), 258),
        ((1_000, 1_000, True, True), 258),
        ((INF, INF, False, False), 258),
        ((NAN, 1_000, False, False), 258),
        ((1_000, -1, False, False), 258),
    ],
)
def test_in_which_bin_a_probe_lies(probe: Probe, place: int) -> None:
    assert np.flatnonzero(bins([probe])).tolist() == [place]


def test_the_interval_narrows_around_the_median() -> None:
    ratios = 1.5 * np.exp(np.random.Generator(np.random.PCG64(3)).normal(0.0, 0.3, 4_000))
    wide, narrow = (speed.interval(plain_bins(ratios[:count]), 0.05) for count in (100, 4_000))
    assert wide[0] <= narrow[0] < 1.5 < narrow[1] <= wide[1]
    assert narrow[1] / narrow[0] < 1.1 < wide[1] / wide[0]
    assert speed.median_ratio(plain_bins(ratios)) == pytest.approx(1.5, rel=0.03)


def test_the_interval_misses_the_median_with_at_most_alpha_however_often_it_is_looked_at() -> None:
    """200 candidates, 8 looks each, at alpha .1; more than 37 misses would be beyond the 1e-4 binomial bound."""
    noise = np.random.Generator(np.random.PCG64(11)).normal(0.0, 0.4, (200, 80))
    median = 1.1
    misses = 0
    for ratios in median * np.exp(noise):
        ends = [speed.interval(plain_bins(ratios[:count]), 0.1) for count in range(10, 81, 10)]
        misses += not all(low < median < high for low, high in ends)
    assert misses <= 37


def test_the_interval_of_a_ratio_beyond_the_grid_is_its_last_stretch() -> None:
    far = np.zeros(259, np.int64)
    far[257] = 500
    assert speed.interval(far, 0.05) == (speed.RATIOS[-2], 16.0)
    assert speed.interval(np.roll(far, -257), 0.05) == (1 / 16, speed.RATIOS[1])
    assert (speed.median_ratio(far), speed.median_ratio(np.roll(far, -257))) == (16.0, 1 / 16)


def test_without_probes_the_interval_is_everything() -> None:
    empty = np.zeros(259, np.int64)
    assert speed.interval(empty, 0.05) == (1 / 16, 16.0)
    assert speed.median_ratio(empty) is None


def test_probes_in_doubt_widen_the_interval_on_both_sides() -> None:
    known = plain_bins(np.exp(np.random.Generator(np.random.PCG64(5)).normal(0.0, 0.3, 500)))
    doubted = known.copy()
    doubted[-1] = 100
    (low, high), (lower, higher) = speed.interval(known, 0.05), speed.interval(doubted, 0.05)
    assert lower < low < high < higher


@pytest.mark.parametrize("alpha", [0.0, 1.0, NAN])
def test_an_alpha_that_is_none_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha above 0"):
        speed.interval(np.zeros(259, np.int64), alpha)
