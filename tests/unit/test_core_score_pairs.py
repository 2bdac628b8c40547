"""Scores of mirrored requests: which pairs are counted, where, and as what."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.guards import Direction, Score, ScoreGuard
from streamsplit.core.mirror_counting import count_mirrored
from streamsplit.core.mirroring import NO_SCORES, SCORE_UNIT, MirrorCounts, ScorePairs
from streamsplit.core.records import AGREES, Outcome, Predictions, Reflection, Routing
from streamsplit.core.score_pairs import Scored, count_pairs

GUARD = ScoreGuard(Score("probability"), margin=0.02)
SCORES = st.one_of(st.just(math.nan), st.floats(-0.5, 1.5), st.sampled_from([math.inf, -math.inf]))
ROWS = st.lists(st.tuples(SCORES, SCORES, st.integers(0, 3), st.sampled_from(list(Outcome)[:7])), max_size=25)


def scored(rows: list[tuple[float, float, int, Outcome]]) -> tuple[Scored, Any]:
    control, candidate, group, outcomes = zip(*rows, strict=True) if rows else ((), (), (), ())
    given = np.array(control, np.float64), np.array(candidate, np.float64)
    return Scored(GUARD, given[0], given[1], np.array(outcomes, np.int8)), np.array(group, np.int64)


@given(ROWS)
def test_a_batch_is_counted_as_its_pairs_one_by_one(rows: list[tuple[float, float, int, Outcome]]) -> None:
    found = count_pairs(*scored(rows), 4)
    expected = [ScorePairs()] * 4
    for row in rows:
        pair, _ = scored([row])
        (alone,) = count_pairs(pair, np.zeros(1, np.int64), 1)
        expected[row[2]] += alone
    assert found == expected


@pytest.mark.parametrize(
    ("control", "candidate", "outcome", "counted"),
    [
        (0.5, 0.5, Outcome.OK, (1, 0, 0)),
        (0.5, 1.2, Outcome.OK, (1, 1, 0)),
        (0.5, -math.inf, Outcome.OK, (1, 1, 0)),
        (1.2, 0.5, Outcome.OK, (1, 0, 0)),
        (0.5, math.nan, Outcome.OK, (0, 0, 1)),
        (0.5, math.nan, Outcome.FALLBACK_TIMEOUT, (0, 0, 1)),
        (0.5, math.nan, Outcome.FALLBACK_LOADING, (0, 0, 0)),
        (0.5, math.nan, Outcome.FALLBACK_STALE, (0, 0, 0)),
        (math.nan, 0.5, Outcome.OK, (0, 0, 1)),
        (math.nan, math.nan, Outcome.OK, (0, 0, 0)),
        (math.nan, math.nan, Outcome.FALLBACK_ERROR, (0, 0, 0)),
    ],
)
def test_which_pairs_count(control: float, candidate: float, outcome: Outcome, counted: tuple[int, int, int]) -> None:
    pair, group = scored([(control, candidate, 0, outcome)])
    (found,) = count_pairs(pair, group, 1)
    assert (found.scored, found.clipped, found.unscored) == counted
    assert bool(found.drop) == bool(found.rise) == bool(found.scored)
    assert bool(found.drop_unscored) == bool(found.rise_unscored) == bool(found.unscored)


def test_a_pair_lies_between_two_points_and_its_scores_are_summed() -> None:
    pair, group = scored([(0.6, 0.4, 0, Outcome.OK), (0.25, 0.75, 0, Outcome.OK)])
    (found,) = count_pairs(pair, group, 1)
    # (.6 - .4 - .02) / 1.02 lies at 588.235 of 1 000 steps, (.25 - .75 - .02) / 1.02 at 245.098
    assert found.drop == {588: 765, 589: 235, 245: 902, 246: 98}
    assert (found.control, found.candidate) == (int(0.85 * SCORE_UNIT), int(1.15 * SCORE_UNIT))
    assert found.squares == pytest.approx((0.36 + 0.0625) * SCORE_UNIT, abs=2)


def test_the_end_of_the_range_is_one_point() -> None:
    pair, group = scored([(1.0, 0.0, 1, Outcome.OK), (0.0, 1.0, 1, Outcome.OK)])
    none, found = count_pairs(replace(pair, guard=replace(GUARD, margin=0.0)), group, 2)
    assert none == NO_SCORES
    assert found.drop == found.rise == {0: 1000, 1000: 1000}


@pytest.mark.parametrize("direction", [Direction.DROP, Direction.RISE])
def test_a_direction_that_nobody_looks_at_has_no_points(direction: Direction) -> None:
    rows = [(0.6, 0.4, 0, Outcome.OK), (math.nan, 0.4, 0, Outcome.OK)]
    pair, group = scored(rows)
    (found,) = count_pairs(replace(pair, guard=replace(GUARD, direction=direction)), group, 1)
    looked = {Direction.DROP: (found.drop, found.drop_unscored), Direction.RISE: (found.rise, found.rise_unscored)}
    assert {each for each, counts in looked.items() if all(counts)} == {direction}
    assert {each for each, counts in looked.items() if any(counts)} == {direction}


def mirrored(**more: Any) -> tuple[MirrorCounts, ...]:
    """Four requests in two windows, of which three are mirrored."""
    reflection = Reflection(
        np.array([0, 2, 3]),
        np.zeros(3, np.int8),
        np.zeros(3, np.int64),
        np.full(3, AGREES, np.int8),
        scores=np.array([0.3, 0.5, math.nan]),
    )
    routing = Routing(
        ByteStrings.repeated(None, 4), np.zeros(4, np.int16), np.full(4, -1, np.int16), np.array([0, 1, 0, 0], np.int8)
    )
    answered = Predictions(
        np.array([0, 1, 0, 0], np.int8), np.zeros(4, np.int8), np.zeros(4, np.int64), {}, {}, {1: reflection}
    )
    return count_mirrored(1000, np.array([999, 999, 1000, 1001]), routing, answered, ("control", "canary"), **more)


def test_pairs_are_of_control_and_the_candidate_in_the_window_of_their_request() -> None:
    first, second = mirrored(guard=GUARD, scores=np.array([0.4, 0.9, 0.5, 0.7]))
    assert (first.start, first.scores.scored, first.scores.unscored) == (0, 1, 0)
    assert (first.scores.control, first.scores.candidate) == (4 * SCORE_UNIT // 10, 3 * SCORE_UNIT // 10)
    assert (second.start, second.scores.scored, second.scores.unscored) == (1000, 1, 1)
    assert (second.scores.control, second.scores.candidate) == (SCORE_UNIT // 2, SCORE_UNIT // 2)


def test_scores_that_no_guard_looks_at_are_not_counted() -> None:
    for counts in (mirrored(), mirrored(scores=np.full(4, 0.5))):
        assert [each.scores for each in counts] == [NO_SCORES] * 2
