"""The search for the rows that raise: each row is decided by itself, and what that costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.inference.search import Search


class Model:
    """A model that raises on some rows, and takes a second for each run.

    Args:
        poison: The rows.
        only_together: Whether none of them raises alone.
        raising: Seconds that a run takes that raises.

    Attributes:
        answered: How often each row was answered.
        alone: The rows that raised alone.
        runs: How many there were.
    """

    def __init__(self, poison: set[int], *, only_together: bool = False, raising: float = 1.0) -> None:
        self.poison = poison
        self.raising = raising
        self.spent = 0.0
        self.only_together = only_together
        self.answered: list[int] = []
        self.alone: list[int] = []
        self.runs = 0

    def run(self, start: int, stop: int) -> str | None:
        self.runs += 1
        raises = self.poison & set(range(start, stop)) and not (self.only_together and stop - start == 1)
        self.spent += self.raising if raises else 1.0
        if raises:
            self.alone.extend([start] if stop - start == 1 else [])
            return f"{start} to {stop}"
        self.answered.extend(range(start, stop))
        return None

    def search(self, seconds: float = float("inf"), *, thorough: bool = False) -> Search:
        return Search(self.run, seconds, thorough=thorough, clock=lambda: self.spent)


@given(st.integers(2, 300), st.sets(st.integers(0, 299), min_size=1), st.booleans())
def test_exactly_the_rows_that_raise_alone_are_found_and_every_other_is_answered_once(
    rows: int,
    drawn: set[int],
    only_together: bool,  # noqa: FBT001 - drawn
) -> None:
    poison = {row % rows for row in drawn}
    model = Model(poison, only_together=only_together)
    found = [row for row, _ in model.search().culprits(0, rows, "together")]
    assert found == ([] if only_together else sorted(poison)) == model.alone
    assert sorted(model.answered) == [row for row in range(rows) if row not in found]


def test_a_run_of_one_row_is_not_run_again() -> None:
    model = Model({7})
    assert list(model.search(seconds=0).culprits(7, 8, "alone")) == [(7, "alone")]
    assert model.runs == 0


@pytest.mark.parametrize(
    ("poisoned", "most"),
    [
        pytest.param(1 / 256, 22, id="one row"),
        pytest.param(0.01, 42, id="1 %"),
        pytest.param(0.1, 165, id="10 %"),
        pytest.param(1 / 3, 275, id="a third"),
        pytest.param(1.0, 256 + 8, id="all"),
    ],
)
def test_the_more_rows_raise_the_fewer_are_tried_together(poisoned: float, most: int) -> None:
    count = max(1, round(256 * poisoned))
    for seed in range(20):
        poison = set(np.random.default_rng(seed).permutation(256)[:count].tolist())
        model = Model(poison)
        assert len(list(model.search().culprits(0, 256, "together"))) == count
        assert model.runs <= most


def test_where_it_is_dear_to_raise_rows_are_tried_one_by_one_much_sooner() -> None:
    poison = set(np.random.default_rng(1).permutation(256)[:26].tolist())
    model = Model(poison, raising=20.0)
    assert len(list(model.search().culprits(0, 256, "together"))) == 26
    one_by_one = 26 * 20.0 + 230
    assert model.spent < 1.3 * one_by_one


def test_what_was_learnt_of_one_run_helps_with_the_next() -> None:
    model = Model(set(range(512)))
    search = model.search()
    assert len([*search.culprits(0, 256, "together"), *search.culprits(256, 512, "together")]) == 512
    assert model.runs == 512 + 7


def test_when_the_time_is_over_the_rest_stays_undecided_and_no_row_is_blamed_for_it() -> None:
    model = Model(set(range(0, 256, 2)))
    search = model.search(seconds=40)
    found = [row for row, _ in search.culprits(0, 256, "together")]
    assert (model.runs, search.late, search.given_up) == (40, True, True)
    assert found == model.alone
    assert set(found) <= model.poison
    assert sorted([*found, *model.answered]) == list(range(len(found) + len(model.answered)))


def test_a_thorough_search_is_late_at_the_same_moment_and_decides_all() -> None:
    model = Model(set(range(0, 256, 2)))
    search = model.search(seconds=40, thorough=True)
    assert len(list(search.culprits(0, 256, "together"))) == 128
    assert (search.late, search.given_up) == (True, False)
    exact = Model(set(range(0, 256, 2))).search(seconds=model.runs, thorough=True)
    assert len(list(exact.culprits(0, 256, "together"))) == 128
    assert not exact.late
