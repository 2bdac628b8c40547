"""Exceedances of control's own quantile: from earlier windows alone, and no run over its budget lost."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamsplit.core.evidence import errors
from streamsplit.core.evidence.tails import LEAST_TIMES, Tails, classes

NAN, INF = math.nan, math.inf


def after(times: NDArray[np.float64], rows: int = 50) -> Tails:
    tails = Tails()
    tails.add(np.full(len(times), rows), times)
    return tails


def exceedances(
    tails: Tails, probe: tuple[float, float, bool, bool], *, in_doubt: bool = False, rows: int = 50
) -> tuple[int, int, int]:
    control, candidate, control_over, candidate_over = probe
    return tails.exceedances(
        np.array([rows]),
        np.array([control]),
        np.array([candidate]),
        1.2,
        0.002,
        quantile=0.95,
        control_over=np.array([control_over]),
        candidate_over=np.array([candidate_over]),
        in_doubt=in_doubt,
    )


@pytest.mark.parametrize(
    ("rows", "row_class"), [(-3, 1), (0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (63, 6), (64, 7), (256, 9)]
)
def test_a_class_is_a_power_of_two(rows: int, row_class: int) -> None:
    assert classes(np.array([rows])).tolist() == [row_class]


def test_the_quantile_is_that_of_the_times() -> None:
    times = np.random.Generator(np.random.PCG64(1)).lognormal(9.0, 0.5, 400)
    exact = float(np.quantile(times, 0.95, method="inverted_cdf"))
    assert after(times).tau(6, 0.95) == pytest.approx(exact, rel=0.0101)


def test_there_is_no_quantile_before_a_hundred_times_of_the_class() -> None:
    tails = after(np.full(LEAST_TIMES - 1, 1e4))
    assert tails.tau(6, 0.95) is None
    assert exceedances(tails, (1e6, 1e6, False, False)) == (0, 0, 0)
    tails.add(np.array([50]), np.array([1e4]))
    assert tails.tau(6, 0.95) is not None
    assert tails.tau(5, 0.95) is None


@pytest.mark.parametrize("before", [0, 1, 175, 195, 250])
def test_a_time_weighs_half_after_twenty_windows(before: int) -> None:
    """Also where a period of the weights ends in between."""
    tails = Tails()
    for _ in range(before):
        tails.add(np.array([50]), np.array([1.0]))
    tails.add(np.full(1_000, 50), np.full(1_000, 1e4))
    for _ in range(19):
        tails.add(np.array([50]), np.array([1.0]))
    tails.add(np.full(500, 50), np.full(500, 1e6))
    times, others = tails.to_plain()["6"]["weights"][-2:]
    assert times == pytest.approx(others, rel=2e-3)


def test_the_quantile_follows_a_machine_that_became_slower() -> None:
    tails = after(np.full(1_000, 1e4))
    for _ in range(40):
        tails.add(np.full(25, 50), np.full(25, 2e4))
    assert tails.tau(6, 0.5) == pytest.approx(2e4, rel=0.0101)


@pytest.mark.parametrize(
    ("probe", "rollback", "promote"),
    [
        ((9_000, 9_000, False, False), (1, 0, 0), (1, 0, 0)),
        ((11_000, 13_500, False, False), (1, 1, 0), (1, 1, 0)),  # tau 10 ms, 1.2 times and 2 ms are tolerated
        ((9_000, 14_500, False, False), (1, 0, 1), (1, 0, 1)),
        ((11_000, 15_000, False, False), (1, 1, 1), (1, 1, 1)),
        ((9_000, 9_000, True, True), (1, 1, 1), (1, 1, 1)),  # whatever a run was given, over is over
        ((INF, INF, False, False), (1, 1, 1), (1, 1, 1)),
        ((NAN, 9_000, False, False), (1, 1, 0), (1, 0, 0)),
        ((9_000, NAN, False, False), (1, 0, 0), (1, 0, 1)),
        ((-1, -1, False, False), (1, 1, 0), (1, 0, 1)),
    ],
)
def test_what_exceeds(
    probe: tuple[float, float, bool, bool], rollback: tuple[int, int, int], promote: tuple[int, int, int]
) -> None:
    tails = after(np.full(200, 1e4))
    assert exceedances(tails, probe) == rollback
    assert exceedances(tails, probe, in_doubt=True) == promote


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=50), st.floats(1.0, 3.0))
def test_a_candidate_of_exactly_the_tolerated_ratio_exceeds_as_often_as_control(
    control: list[float], ratio: float
) -> None:
    """Up to one rounding: times that are tau itself are moved off it."""
    times, none = np.array(control), np.zeros(len(control), bool)
    tails = after(np.resize(times, 200))
    tau = tails.tau(6, 0.8)
    assert tau is not None
    times = np.where(np.abs(times / tau - 1) < 1e-9, times * 1.01, times)
    probes, by_control, by_candidate = tails.exceedances(
        np.full(len(times), 50), times, times * ratio, ratio, 0.0,
        quantile=0.8, control_over=none, candidate_over=none, in_doubt=False,
    )  # fmt: skip
    assert probes == len(times)
    assert by_control == by_candidate


@given(control=st.floats(0.0, 1.0), share=st.floats(0.0, 1.0), overlap=st.floats(0.0, 1.0))
def test_every_bet_expects_to_lose_whatever_the_two_runs_have_in_common(
    control: float, share: float, overlap: float
) -> None:
    """By enumeration of a probe, in both directions: the arm that bets are on exceeds `share` as often as the other."""
    less = share * control
    least = max(0.0, control + less - 1.0)
    both = least + overlap * (less - least)
    for x_more, x_less, increment in ((0, 1, rollback), (1, 0, promote)):
        expected = (
            both * np.exp(increment(1, 1))
            + (less - both) * np.exp(increment(x_more, x_less))
            + (control - both) * np.exp(increment(x_less, x_more))
            + (1.0 - control - less + both) * np.exp(increment(0, 0))
        )
        assert (expected <= 1.0 + 1e-9).all()


def rollback(by_control: int, by_candidate: int) -> NDArray[np.float64]:
    return errors.rollback_increment(errors.Counts(1, by_control, 1, by_candidate), 1.0, 0.0)


def promote(by_control: int, by_candidate: int) -> NDArray[np.float64]:
    return errors.promote_increment(errors.Counts(1, by_control, 1, by_candidate), 1.0, 0.0)


def test_an_infinite_time_exceeds_even_where_control_often_has_one() -> None:
    tails = after(np.array([1e4, INF] * 100))
    assert tails.tau(6, 0.95) == INF
    assert exceedances(tails, (INF, INF, False, False)) == (1, 1, 1)
    assert exceedances(tails, (1e6, 1e6, False, False)) == (1, 0, 0)


def test_times_that_are_none_change_no_quantile() -> None:
    tails, clean = after(np.array([NAN, -1.0, -INF] + [1e4] * 100)), after(np.full(100, 1e4))
    assert tails.to_plain() == clean.to_plain()


def test_a_window_without_probes_changes_nothing() -> None:
    tails = after(np.full(150, 1e4))
    before = tails.to_plain()
    tails.add(np.array([], np.int64), np.array([]))
    assert tails.to_plain() == before
    empty, none = np.array([], np.int64), np.array([], bool)
    assert tails.exceedances(
        empty, empty, empty, 1.2, 0.0, quantile=0.95, control_over=none, candidate_over=none, in_doubt=False
    ) == (0, 0, 0)


def test_a_judge_that_takes_over_goes_on_to_the_bit_and_the_state_stays_short() -> None:
    random = np.random.Generator(np.random.PCG64(2))
    tails, taken_over = Tails(), Tails()
    for _ in range(200):
        rows, times = random.integers(1, 257, 25), random.lognormal(9.0, 0.5, 25)
        tails.add(rows, times)
        taken_over.add(rows, times)
        taken_over = Tails.from_plain(json.loads(json.dumps(taken_over.to_plain())))
    text = json.dumps(tails.to_plain())
    assert json.dumps(taken_over.to_plain()) == text
    assert len(text) < 20_000


def test_probes_of_a_window_may_come_in_any_order() -> None:
    random = np.random.Generator(np.random.PCG64(4))
    rows, times = random.integers(1, 257, 300), random.lognormal(9.0, 0.5, 300)
    order = random.permutation(300)
    one, other = Tails(), Tails()
    one.add(rows, times)
    other.add(rows[order], times[order])
    assert one.to_plain() == other.to_plain()
