"""What a batch adds to its summary for the judge: what fell, who met errors, scores, slow requests, whole runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.counting import UNIT_SEED, BatchCounts, count_batch
from streamsplit.core.guards import JudgeSettings, LatencyGuard, Score, ScoreGuard, ShiftGuard
from streamsplit.core.records import NOBODY, UNKNOWN, Outcome, Predictions, Reflection, Routing, Timing
from streamsplit.core.routing import bucket_of
from streamsplit.core.scores import judged_score, scores_of_arms
from streamsplit.core.summary import MOST_UNITS, SCORE_BINS, Probe, RunCounts

ARMS = ("control", "left", "right")
OK, ERROR, TIMEOUT, OPEN, LOADING, STALE, DEAD = (
    Outcome.OK,
    Outcome.FALLBACK_ERROR,
    Outcome.FALLBACK_TIMEOUT,
    Outcome.FALLBACK_OPEN,
    Outcome.FALLBACK_LOADING,
    Outcome.FALLBACK_STALE,
    Outcome.DEAD_LETTER,
)
Row = tuple[int, Outcome]
"""Assigned arm and outcome."""


def counted(
    rows: list[Row],
    judge: JudgeSettings | None = None,
    *,
    times: list[int] | None = None,
    units: list[bytes | None] | None = None,
    micros: list[int] | None = None,
    values: list[float] | None = None,
    timings: list[tuple[str, Timing]] | None = None,
    **more: object,
) -> BatchCounts:
    """Count a batch whose rows a candidate answers only where the outcome says so."""
    m, judge = len(rows), judge or JudgeSettings()
    arms, outcomes = np.array([arm for arm, _ in rows], np.int8), np.array([ended for _, ended in rows], np.int8)
    served_by = np.where(outcomes == OK, arms, 0).astype(np.int8)
    served_by[outcomes == DEAD] = NOBODY
    column = np.array(values if values is not None else [0.5] * m, np.float32)
    outputs = {"p": np.stack([1 - column, column], axis=1), "text": np.full((m, 1), b"x", object)}
    known = units if units is not None else [b"%d" % row for row in range(m)]
    routing = Routing(ByteStrings.of(known), np.zeros(m, np.int16), np.full(m, -1, np.int16), arms)
    predictions = Predictions(served_by, outcomes, np.array(micros or [100] * m), outputs, {}, **more)  # type: ignore[arg-type]
    score = judged_score(judge)
    scores = scores_of_arms(score, routing, predictions) if score is not None else None
    return count_batch(
        judge, np.array(times or [0] * m, np.int64), routing, predictions, ARMS, scores=scores, timings=timings or []
    )


# -- what fell ---------------------------------------------------------------------------------------------------------


def test_requests_of_a_share_that_fell_are_told_from_those_that_failed_by_themselves() -> None:
    rows = [(0, OK), (0, DEAD), (1, TIMEOUT), (1, TIMEOUT), (1, DEAD), (2, OK), (2, ERROR)]
    control, left, right = counted(rows, fallen=frozenset({1})).windows
    assert (control.outcomes, control.fallen) == ({"ok": 1, "dead_letter": 1}, {})
    assert (left.outcomes, left.fallen) == ({"fallback_timeout": 2, "dead_letter": 1},) * 2
    assert (right.outcomes, right.fallen) == ({"ok": 1, "fallback_error": 1}, {})


@pytest.mark.parametrize("outcome", [LOADING, STALE])
def test_a_candidate_that_was_not_there_is_blamed_for_nothing_even_where_control_cannot_answer_either(
    outcome: Outcome,
) -> None:
    counts = counted([(0, OK), (1, outcome), (1, DEAD)], fallen=frozenset({1}))
    assert counts.windows[1].outcomes == {outcome.label: 1, "dead_letter": 1}
    assert counts.windows[1].fallen == {"dead_letter": 1}
    assert counts.failing == ()


# -- whole runs --------------------------------------------------------------------------------------------------------


def test_a_run_counts_once_a_batch_and_candidate_in_the_window_of_the_newest_request() -> None:
    rows, times = [(0, OK), (1, ERROR), (1, ERROR), (2, OK)], [12_000, 1, 2, 3]
    counts = counted(rows, times=times, fallen=frozenset({1}), ran={1: True, 2: False}, control_fell=True)
    assert counts.runs == (RunCounts(10_000, "left", 1, 1, 1), RunCounts(10_000, "right", 1, 1, 0))


def mirrored(**more: bool | None) -> Reflection:
    nothing = np.zeros(1, np.int64)
    return Reflection(nothing, np.full(1, ERROR, np.int8), nothing, np.full(1, UNKNOWN, np.int8), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("own", "seen", "fell"),
    [(None, True, 1), (None, False, 0), (False, True, 1), (True, None, 1), (False, False, 0), (True, False, 1)],
)
def test_a_candidate_that_falls_at_its_own_requests_or_at_mirrored_ones_falls_once_a_batch(
    own: bool | None,  # noqa: FBT001 - a column
    seen: bool | None,  # noqa: FBT001 - a column
    fell: int,
) -> None:
    ran = {} if own is None else {1: own}
    counts = counted([(0, OK), (0, OK)], ran=ran, mirrored={1: mirrored(fallen=bool(seen), ran=seen)})
    assert counts.runs == (RunCounts(0, "left", 1, 0, fell),)


def test_a_shadow_that_is_late_or_not_asked_has_no_run() -> None:
    assert counted([(0, OK), (0, OK)], mirrored={1: mirrored()}).runs == ()


def test_a_candidate_without_control_beside_it_or_that_was_not_asked_has_no_run() -> None:
    assert counted([(1, OK)] * 3, ran={1: False}).runs == ()
    assert counted([(0, OK), (1, OPEN)], fallen=frozenset({1})).runs == ()


# -- who met errors ----------------------------------------------------------------------------------------------------


def test_errors_name_their_units_in_the_order_of_the_requests_and_by_another_hash_than_the_buckets() -> None:
    units = [b"a", b"b", None, b"a", b"c"]
    rows = [(1, ERROR), (0, DEAD), (1, ERROR), (1, ERROR), (1, OK)]
    control, left = counted(rows, units=units).failing
    assert (control.arm, len(control.units), control.unnamed) == ("control", 1, 0)
    assert (left.arm, len(left.units), left.unnamed) == ("left", 2, 1)
    assert left.units[0] == left.units[1] != control.units[0]
    assert UNIT_SEED != 0
    assert left.units[0] % 10_000 != bucket_of("", b"a")


def test_rows_of_a_share_that_fell_name_nobody() -> None:
    assert counted([(0, OK), (1, ERROR), (1, ERROR)], fallen=frozenset({1})).failing == ()


@given(st.integers(0, 3 * MOST_UNITS), st.integers(0, 3 * MOST_UNITS), st.integers(1, 3))
def test_a_summary_names_the_first_units_of_all_arms_together_and_counts_the_rest(
    ours: int, theirs: int, windows: int
) -> None:
    rows = [(row % 2, DEAD) for row in range(2 * min(ours, theirs))]
    rows += [(0 if ours > theirs else 1, DEAD)] * abs(ours - theirs)
    failing = counted(rows, times=[5000 * (row % windows) for row in range(len(rows))]).failing
    assert sum(len(each.units) + each.unnamed for each in failing) == ours + theirs
    assert sum(len(each.units) for each in failing) == min(MOST_UNITS, ours + theirs)
    assert all(-(2**63) <= unit < 2**63 for each in failing for unit in each.units)


# -- slow requests -----------------------------------------------------------------------------------------------------


def test_slow_are_requests_that_their_own_arm_answered_in_a_longer_run_than_the_limit() -> None:
    rows, micros = [(0, OK), (0, OK), (1, OK), (1, ERROR), (1, OK)], [50_000, 50_001, 70_000, 90_000, 10]
    judge = JudgeSettings(latency=LatencyGuard(limit_seconds=0.05))
    assert [each.slow for each in counted(rows, judge, micros=micros).windows] == [1, 1]
    assert [each.slow for each in counted(rows, micros=micros).windows] == [0, 0]


# -- scores ------------------------------------------------------------------------------------------------------------

GUARDED = JudgeSettings(score=ScoreGuard(Score("p", 1, -1.0, 3.0), 0.1))


def test_scores_are_counted_in_bins_over_their_range_and_what_lies_outside_in_the_last() -> None:
    values = [-1.0, -0.9961, 0.999, 1.0, 3.0, 3.5, -2.0, float("inf"), float("-inf")]
    (counts,) = counted([(0, OK)] * len(values), GUARDED, values=values).windows
    assert counts.scores == {0: 4, 499: 1, 500: 1, 999: 3}
    assert (counts.clipped, counts.unscored) == (4, 0)


def test_a_request_has_a_score_only_from_its_own_arm_and_counts_as_unscored_where_the_arm_was_asked() -> None:
    values = [0.0, 1.0, float("nan"), 1.0, 1.0, 1.0]
    rows = [(0, OK), (1, OK), (1, OK), (1, ERROR), (2, LOADING), (0, DEAD)]
    control, left, right = counted(rows, GUARDED, values=values, fallen=frozenset({2})).windows
    assert (control.scores, control.unscored) == ({250: 1}, 1)
    assert (left.scores, left.unscored) == ({500: 1}, 2)
    assert (right.scores, right.unscored) == ({}, 0)


@pytest.mark.parametrize("score", [Score("q"), Score("p", 2), Score("text")])
def test_a_score_that_the_answers_do_not_have_leaves_them_unscored(score: Score) -> None:
    (counts,) = counted([(0, OK)] * 3, JudgeSettings(shift=ShiftGuard(score))).windows
    assert (counts.scores, counts.clipped, counts.unscored) == ({}, 0, 3)


def test_nothing_is_scored_without_a_guard() -> None:
    (counts,) = counted([(0, OK)] * 3).windows
    assert (counts.scores, counts.unscored) == ({}, 0)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(width=32), st.integers(0, 10**6)), min_size=1, max_size=60),
    st.floats(-1e300, 1e300),
    st.floats(1e-6, 1.7e308),
)
def test_every_request_is_in_one_bin_or_unscored_whatever_the_numbers(
    rows: list[tuple[int, float, int]], low: float, span: float
) -> None:
    high = max(np.nextafter(low, np.inf), min(low + span, 1.7e308))
    judge = JudgeSettings(shift=ShiftGuard(Score("p", 1, low, high)))
    arms: list[Row] = [(arm, OK) for arm, _, _ in rows]
    windows = counted(arms, judge, values=[value for _, value, _ in rows], times=[time for _, _, time in rows]).windows
    assert all(sum(each.scores.values()) + each.unscored == each.requests >= each.clipped for each in windows)
    assert all(0 <= number < SCORE_BINS for each in windows for number in each.scores)
    assert all(list(each.scores) == sorted(each.scores) for each in windows)


# -- the mirror --------------------------------------------------------------------------------------------------------


def test_a_mirrored_run_that_was_timed_is_a_probe() -> None:
    one = np.zeros(1, np.int8)
    timed = Reflection(
        np.zeros(1, np.int64), one, np.zeros(1, np.int64), one, Timing(64, 900, 2000, candidate_over=True)
    )
    untimed = Reflection(np.zeros(1, np.int64), one, np.zeros(1, np.int64), one)
    counts = counted([(0, OK)] * 2, times=[4000, 7000], mirrored={1: timed, 2: untimed})
    assert counts.probes == (Probe(5000, "left", 64, 900, 2000, candidate_over=True),)


def test_what_was_timed_of_an_arm_that_is_a_candidate_no_longer_is_left_out() -> None:
    timings = [("right", Timing(64, 1, 2)), ("promoted meanwhile", Timing(64, 3, 4))]
    assert counted([(0, OK)], timings=timings).probes == (Probe(0, "right", 64, 1, 2),)


def test_an_empty_batch_adds_nothing() -> None:
    assert counted([]) == BatchCounts()
