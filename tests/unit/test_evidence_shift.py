"""The shift of predictions: its groups, its index beside a simulation, its e-value, and when it speaks."""

import json
import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamsplit.core.evidence.shift import FIRST_LOOK, Shift
from streamsplit.core.evidence.stability import GROUPS, cuts, index, log_increment

BINS = st.dictionaries(st.integers(0, 999), st.integers(1, 400), min_size=1, max_size=30)


def drawn(generator: np.random.Generator, count: int, *, mean: float = 0.5, sd: float = 0.1) -> dict[int, int]:
    bins = np.clip(generator.normal(mean, sd, count) * 1000, 0, 999).astype(int)
    return dict(Counter(bins.tolist()))


def counts(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def test_the_e_value_over_three_doses_is_as_worked_by_hand() -> None:
    doses = [
        (counts(50, 30, 20), counts(5, 3, 2)),
        (counts(40, 40, 20), counts(2, 4, 4)),
        (counts(45, 35, 20), counts(1, 3, 6)),
    ]
    past_control, past_candidate, total, seen = counts(0, 0, 0), counts(0, 0, 0), 0.0, []
    for control, candidate in doses:
        total += log_increment(past_control, past_candidate, control, candidate)
        past_control, past_candidate = past_control + control, past_candidate + candidate
        seen.append(total)
    assert seen == pytest.approx([0, 0.197165, 2.173495], abs=1e-6)


def test_doses_through_the_histogram_give_the_same_e_value() -> None:
    """Groups begin at 100 and 200: three of them hold what the oracle's three do."""
    shift = Shift.from_plain({**Shift({50: 400, 150: 300, 250: 300}).to_plain(), "cuts": [100, 200]})
    shift.next_step()
    for control, candidate in [
        ({3: 50, 150: 30, 999: 20}, {99: 5, 100: 3, 200: 2}),
        ({0: 40, 199: 40, 200: 20}, {0: 2, 100: 1, 110: 3, 999: 4}),
        ({50: 45, 150: 35, 250: 20}, {50: 1, 150: 3, 250: 6}),
    ]:
        shift.add(control, candidate)
    assert shift.read().log_e == pytest.approx(2.173495, abs=1e-6)


SIMPLEX = st.lists(st.floats(0.02, 1), min_size=2, max_size=3).map(lambda raw: np.array(raw) / sum(raw))


@given(SIMPLEX, st.integers(1, 4), st.integers(1, 3), st.data())
def test_the_expected_factor_of_a_dose_is_at_most_one_where_both_have_one_distribution(
    theta: NDArray[np.float64], n_a: int, n_b: int, data: st.DataObject
) -> None:
    groups = len(theta)
    past = [counts(*data.draw(st.lists(st.integers(0, 50), min_size=groups, max_size=groups))) for _ in range(2)]
    expected = 0.0
    for places in product(range(groups), repeat=n_a + n_b):
        control = np.bincount(places[:n_a], minlength=groups)
        candidate = np.bincount(places[n_a:], minlength=groups)
        expected += float(np.prod(theta[list(places)])) * math.exp(log_increment(*past, control, candidate))
    assert expected <= 1 + 1e-9


def test_the_index_is_the_textbook_one_without_its_bias() -> None:
    control, candidate = counts(50_000, 30_000, 20_000), counts(4_000, 3_000, 3_000)
    textbook = 0.1 * math.log(0.5 / 0.4) + 0 + (0.2 - 0.3) * math.log(0.2 / 0.3)
    assert index(control, candidate).psi == pytest.approx(textbook - 2 * (1 / 100_000 + 1 / 10_000), abs=2e-5)


def test_bias_and_standard_error_are_those_of_a_simulation() -> None:
    generator = np.random.default_rng(4)
    a, b = np.full(10, 0.1), np.linspace(0.05, 0.15, 10)
    shifted = [index(generator.multinomial(9000, a), generator.multinomial(1000, b)) for _ in range(2000)]
    psis = np.array([one.psi for one in shifted])
    truth = float(((a - b) * np.log(a / b)).sum())
    assert psis.mean() == pytest.approx(truth, abs=0.002)
    assert np.mean([one.se for one in shifted]) == pytest.approx(psis.std(), rel=0.05)
    alike = [index(generator.multinomial(9000, a), generator.multinomial(1000, a)).psi for _ in range(2000)]
    assert np.mean(alike) == pytest.approx(0, abs=0.0005)


def test_the_groups_hold_a_tenth_of_control_each() -> None:
    earlier = np.zeros(1000, np.int64)
    earlier[200:700] = 20
    found = cuts(earlier)
    assert len(found) == GROUPS - 1
    assert np.add.reduceat(earlier, [0, *found]).tolist() == [1000] * GROUPS


@pytest.mark.parametrize(("bins", "expected"), [({500: 1000}, [500, 501]), ({0: 1000}, [1]), ({999: 1000}, [999])])
def test_a_value_that_most_share_is_a_group_of_its_own(bins: dict[int, int], expected: list[int]) -> None:
    earlier = np.zeros(1000, np.int64)
    for place, count in bins.items():
        earlier[place] = count
    assert cuts(earlier).tolist() == expected


@given(BINS)
def test_there_are_never_more_groups_than_ten(bins: dict[int, int]) -> None:
    earlier = np.zeros(1000, np.int64)
    for place, count in bins.items():
        earlier[place] = count
    found = cuts(earlier)
    assert len(found) < GROUPS
    assert all(0 < cut < 1000 for cut in found)
    assert sorted(set(found.tolist())) == found.tolist()


def test_what_says_where_the_groups_are_is_never_compared() -> None:
    shift = Shift()
    shift.add({1: 999}, {900: 5000})
    shift.add({500: 1}, {900: 5000})
    reading = shift.read()
    assert (reading.psi, reading.n_control, reading.n_candidate, reading.log_e) == (None, 0, 0, 0)
    shift.add({1: 100}, {1: 10})
    assert (shift.read().n_control, shift.read().n_candidate) == (100, 10)


def test_a_dose_without_one_of_the_arms_adds_nothing() -> None:
    shift = Shift({1: 1000})
    shift.add({1: 100}, {})
    shift.add({}, {1: 10})
    assert shift.read() == Shift({1: 1000}).read()


def test_a_large_shift_fires_and_no_shift_or_a_small_one_does_not() -> None:
    fired = {}
    for mean in (0.5, 0.51, 0.56):
        generator = np.random.default_rng(5)
        shift = Shift(drawn(generator, 3000))
        for _ in range(40):
            shift.add(drawn(generator, 900), drawn(generator, 100, mean=mean))
        fired[mean] = (shift.read().fires(0.1), shift.read().fires(0.25))
    assert fired == {0.5: (False, False), 0.51: (False, False), 0.56: (True, True)}


def test_it_is_looked_at_only_when_the_candidates_values_have_doubled() -> None:
    generator = np.random.default_rng(6)
    shift, looks = Shift(drawn(generator, 3000)), []
    for _ in range(90):
        shift.add(drawn(generator, 900), drawn(generator, 100, mean=0.6))
        reading = shift.read()
        if not looks or looks[-1][1] != reading.look:
            looks.append((reading.n_candidate, reading.look))
        assert reading.fires(0.25) == (reading.n_candidate >= FIRST_LOOK)
    assert [at for at, _ in looks] == [100, 1000, 2000, 4000, 8000]


def test_identical_models_do_not_shift_where_rules_differ_in_share_and_users() -> None:
    """Pooled, control would mostly be the first rule and the candidate the second."""
    generator = np.random.default_rng(7)
    shift = Shift({**drawn(generator, 3000, mean=0.3), **drawn(generator, 3000, mean=0.7)})
    for _ in range(60):
        shift.add(drawn(generator, 950, mean=0.3), drawn(generator, 50, mean=0.3))
        shift.add(drawn(generator, 250, mean=0.7), drawn(generator, 750, mean=0.7))
    reading = shift.read()
    assert reading.psi == pytest.approx(0, abs=0.01)
    assert not reading.fires(0.02)


def test_control_counts_in_full_where_the_share_is_constant() -> None:
    shift = Shift({1: 500, 900: 500})
    for _ in range(3):
        shift.add({1: 400, 900: 500}, {1: 40, 900: 60})
    assert shift.read().n_control == pytest.approx(2700)
    plain = index(counts(0, 1200, 0, 1500, 0), counts(0, 120, 0, 180, 0))
    assert (shift.read().psi, shift.read().se) == pytest.approx((plain.psi, plain.se))


def test_a_new_step_begins_without_values_and_with_the_same_groups() -> None:
    generator = np.random.default_rng(8)
    shift = Shift(drawn(generator, 3000))
    for _ in range(20):
        shift.add(drawn(generator, 900), drawn(generator, 100, mean=0.6))
    groups = shift.to_plain()["cuts"]
    shift.next_step()
    assert shift.read() == Shift(drawn(generator, 3000)).read()
    assert shift.to_plain()["cuts"] == groups


@given(BINS, st.lists(st.tuples(BINS, BINS), max_size=8), st.lists(st.tuples(BINS, BINS), max_size=4))
def test_what_is_written_and_read_again_goes_on_alike(
    earlier: dict[int, int],
    first: list[tuple[dict[int, int], dict[int, int]]],
    then: list[tuple[dict[int, int], dict[int, int]]],
) -> None:
    shift = Shift(earlier)
    for dose in first:
        shift.add(*dose)
    again = Shift.from_plain(json.loads(json.dumps(shift.to_plain())))
    for dose in then:
        shift.add(*dose)
        again.add(*dose)
    assert again.to_plain() == shift.to_plain()
    assert again.read() == shift.read()


@pytest.mark.parametrize("bins", [{-1: 3}, {1000: 3}, {5: -3}])
def test_impossible_bins_are_refused(bins: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="expected bins"):
        Shift().add(bins, {})
