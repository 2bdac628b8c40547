"""Where no request comes no window closes: that is told once, and the deadline passes all the same."""

from dataclasses import replace
from typing import Any

import pytest

from simulations.world import World, behaving, canary, replayed, taken_over
from streamsplit.core.commands import Kind
from streamsplit.core.decision import Decision, DecisionKind
from streamsplit.core.judging.silence import Silence
from streamsplit.core.rollout import Phase
from streamsplit.core.summary import Summary

PATIENCE = 62.0
"""Windows and grace of a second, and a minute."""


def idle(summary: Summary) -> tuple[Summary, ...]:
    """What a worker writes that has nothing to read."""
    at_end = tuple(replace(each, start=each.end, lag=0, newest_request_time=None) for each in summary.partitions)
    return (replace(summary, windows=(), runs=(), probes=(), partitions=at_end),)


def quiet(**judge: Any) -> World:
    """A rollout that nobody sends anything."""
    one = World(canary(judge={"window": "1s", "grace": "1s", **judge}), behaving())
    one.edit = idle
    return one


def told(decisions: list[Decision]) -> list[tuple[DecisionKind, str]]:
    return [(each.kind, each.reasons[0].split(" since")[0].split(":")[0]) for each in decisions]


def test_a_silence_is_told_once_with_when_it_began() -> None:
    one = quiet()
    one.run(600)
    (only,) = one.decisions
    assert only.kind is DecisionKind.HOLD
    began = only.window_start
    assert only.window_end - began == 1000 * PATIENCE
    assert only.reasons == ("no requests since 2023-11-14T22:13:20.500+00:00, 62 s ago",)
    assert began == 1_700_000_000_500
    assert only.control_to == one.state.revision + 1


@pytest.mark.parametrize(
    ("deadline", "expected"),
    [
        ("100s", [(DecisionKind.HOLD, "no requests"), (DecisionKind.ROLLBACK, "inconclusive")]),
        ("10s", [(DecisionKind.ROLLBACK, "inconclusive")]),
    ],
)
def test_a_rollout_that_nobody_sends_anything_is_taken_back_past_its_deadline(
    deadline: str, expected: list[tuple[DecisionKind, str]]
) -> None:
    one = quiet(deadline=deadline, on_inconclusive="rollback")
    one.run(600)
    assert one.state.phase is Phase.ROLLED_BACK
    assert told(one.decisions) == expected
    assert one.decisions[-1].reasons[1].startswith("no requests since")


def test_past_the_deadline_a_hold_is_told_once_more_and_the_rollout_waits() -> None:
    one = quiet(deadline="100s")
    one.run(600)
    assert one.state.phase is Phase.PROGRESSING
    assert told(one.decisions) == [(DecisionKind.HOLD, "no requests"), (DecisionKind.HOLD, "inconclusive")]


def test_each_silence_is_told_and_nothing_goes_on_in_it() -> None:
    steps = [{"weight": 10, "for": "1h", "advance": "time"}, {"weight": 20}]
    one = World(canary(steps=steps, judge={"window": "1s", "grace": "1s"}), behaving())
    for _ in range(2):
        one.edit = lambda summary: (summary,)
        one.run(0.5)
        one.edit = idle
        one.run(200)
        assert one.state.step == 0
    silences = [each for each in one.decisions if each.reasons[0].startswith("no requests")]
    assert len(silences) == 2
    assert one.decisions[-1] is silences[-1]
    assert len({each.decision_id for each in one.decisions}) == len(one.decisions)


def test_a_silence_is_told_anew_when_a_person_goes_on_in_it_and_the_deadline_counts_then() -> None:
    one = quiet(deadline="30s", on_inconclusive="rollback")
    one.command(Kind.PAUSE)
    one.run(200)
    (paused,) = one.decisions
    assert paused.reasons[0].startswith("no requests since")
    assert paused.reasons[1].startswith("paused")
    one.command(Kind.RESUME)
    one.run(1)
    assert one.state.phase is Phase.ROLLED_BACK


def test_requests_that_come_too_seldom_for_a_window_a_minute_are_no_silence() -> None:
    one = quiet()
    one.edit = lambda summary: (summary,) if summary.sequence % 100 == 0 else idle(summary)
    one.run(300)
    assert len(one.decisions) >= 5
    assert not [each for each in one.decisions if each.reasons[0].startswith("no requests")]


@pytest.mark.parametrize("every", [1, 7])
def test_whoever_takes_over_or_replays_a_silence_tells_the_same(every: int) -> None:
    one = quiet(deadline="100s", on_inconclusive="rollback")
    one.edit = lambda summary: (summary,) if summary.sequence < 20 else idle(summary)
    one.run(600)
    assert one.state.phase is Phase.ROLLED_BACK
    assert replayed(one) == one.decisions
    assert taken_over(one, every) == one.decisions


def test_nothing_is_due_before_anything_was_heard() -> None:
    assert not Silence().due(10**15, 1, passed=True)
