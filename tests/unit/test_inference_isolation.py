"""The search for the rows that bring control down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.inference.fall import Fall, FallKind, of_exit
from streamsplit.inference.isolation import Piece, Trial, isolate

CRASH = Fall(FallKind.CRASH, "its process crashed (signal SIGSEGV)")
KILLED = Fall(FallKind.KILLED, "its process was killed from outside (signal SIGKILL)")


class Control:
    """A control that falls on poison, and is killed from outside a number of times before that."""

    def __init__(self, poison: set[int], kills: int = 0) -> None:
        self.poison = poison
        self.kills = kills
        self.answered: list[int] = []
        self.attempts: list[list[int]] = []

    def attempt(self, piece: Piece) -> Trial:
        rows = piece.rows.tolist()
        self.attempts.append(rows)
        if self.kills:
            self.kills -= 1
            return Trial(piece.rows, KILLED, proven=piece.alone)
        for start in range(0, len(rows), piece.run_rows):
            run = rows[start : start + piece.run_rows]
            if self.poison & set(run):
                return Trial(piece.rows[start:], CRASH, proven=piece.alone)
            self.answered.extend(run)
        return Trial()


def whole(rows: int) -> Piece:
    return Piece(np.arange(rows), 256)


@given(st.integers(1, 700), st.sets(st.integers(0, 699), max_size=4), st.integers(0, 30))
def test_exactly_the_poison_is_convicted_and_every_other_row_answered_once(
    rows: int, poison: set[int], kills: int
) -> None:
    poison = {row for row in poison if row < rows}
    control = Control(poison, kills)
    assert set(isolate([whole(rows)], control.attempt)) == poison
    assert sorted(control.answered) == [row for row in range(rows) if row not in poison]


def test_kills_from_outside_convict_nobody_however_many() -> None:
    control = Control(set(), kills=1000)
    assert isolate([whole(5)], control.attempt) == {}
    assert sorted(control.answered) == [0, 1, 2, 3, 4]


def test_rows_are_tried_three_times_together_before_they_are_halved() -> None:
    control = Control({2})
    isolate([whole(4)], control.attempt)
    assert control.attempts == [[0, 1, 2, 3]] * 3 + [[0, 1]] + [[2, 3]] * 3 + [[2]] * 2 + [[3]]


def test_one_poison_among_a_thousand_is_found_in_bounded_restarts() -> None:
    control = Control({777})
    isolate([whole(1000)], control.attempt)
    assert len(control.attempts) - len([a for a in control.attempts if 777 not in a]) <= 3 * 10 + 2


def test_a_fall_without_golden_records_before_it_convicts_nobody() -> None:
    trials = iter([Trial(np.array([0]), CRASH, proven=False)] * 5 + [Trial()])
    assert isolate([whole(1)], lambda _: next(trials)) == {}


def test_a_fall_is_not_carried_over_from_rows_tried_together() -> None:
    """A row that was among others when they fell must still fall twice alone."""
    trials = iter([Trial(np.array([1]), CRASH), Trial(np.array([1]), CRASH, proven=True), Trial()])
    assert isolate([whole(2)], lambda _: next(trials)) == {}


@pytest.mark.parametrize(
    ("code", "out_of_memory", "kind", "blamed"),
    [
        (-9, False, FallKind.KILLED, False),
        (-15, False, FallKind.KILLED, False),
        (-9, True, FallKind.MEMORY, True),
        (70, True, FallKind.MEMORY, True),
        (-11, False, FallKind.CRASH, True),
        (-6, False, FallKind.CRASH, True),
        (1, False, FallKind.CRASH, True),
    ],
)
def test_only_a_fall_of_its_own_can_be_a_rows_fault(
    code: int, *, out_of_memory: bool, kind: FallKind, blamed: bool
) -> None:
    fall = of_exit(code, ran_out_of_memory=out_of_memory)
    assert fall.kind is kind
    assert fall.blamed is blamed
