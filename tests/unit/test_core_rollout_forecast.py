"""What the steps of a rollout file are expected to take, and what its writer is told."""

import math
from typing import Any

import pytest

from streamsplit.core.findings import Finding
from streamsplit.core.quantities import duration_text
from streamsplit.core.rollout import Rollout
from streamsplit.core.rollout_concerns import concerns, requests_text
from streamsplit.core.rollout_file import parse
from streamsplit.core.rollout_forecast import StepForecast, Wait, forecast

RAMP = [{"weight": 10}, {"weight": 25, "for": "10m"}, "pause", {"weight": 75}, {"weight": 100, "for": "60s"}]


def rollout(steps: list[Any] = RAMP, **fields: Any) -> Rollout:
    spec = {"rollout": "x", "arms": {"control": "d@1", "canary": "d@2"}, "steps": steps, **fields}
    result = parse(spec, None)
    assert isinstance(result, Rollout), [str(finding) for finding in result]
    return result


def told(rate: float | None = None, steps: list[Any] = RAMP, **fields: Any) -> list[Finding]:
    read = rollout(steps, **fields)
    return list(concerns(read, forecast(read, rate), rate))


def span(entry: StepForecast, name: str) -> tuple[float, float]:
    given = getattr(entry, name)
    assert given is not None
    return given[0], given[1]


def test_each_step_says_what_it_waits_for_and_for_how_many_requests() -> None:
    first, second, pause, third, last = forecast(rollout())
    assert [each.wait for each in (first, second, pause, third, last)] == [
        Wait.EVIDENCE, Wait.EVIDENCE, Wait.PERSON, Wait.EVIDENCE, Wait.TIME,
    ]  # fmt: skip
    assert span(first, "candidate_requests") == pytest.approx((2100, 3000), rel=0.15)
    assert span(first, "requests") == pytest.approx((21_000, 30_000), rel=0.15)
    assert span(third, "requests")[1] > span(second, "requests")[1] / 2
    assert pause.requests is None
    assert span(last, "requests") == (0, 0)
    assert first.seconds is None


def test_time_is_that_of_the_requests_and_the_windows_but_at_least_the_bake_time() -> None:
    judge = {"window": "10s", "grace": "5s"}
    first, second, _, _, last = forecast(rollout(judge=judge), rate=100.0)
    assert span(first, "seconds")[0] == pytest.approx(span(first, "requests")[0] / 100 + 15)
    assert span(second, "seconds")[0] == 600.0
    assert span(last, "seconds") == (60.0, 60.0)


def test_a_sample_is_waited_for_with_or_without_evidence() -> None:
    few, many = forecast(rollout([{"weight": 1, "requests": 50}, {"weight": 10, "requests": 20_000}]), rate=10.0)
    assert few.wait is Wait.TIME
    assert span(few, "requests") == (5000, 5000)
    assert span(few, "seconds") == (500, 500)
    assert span(many, "requests") == (200_000, 200_000)


def test_the_last_step_beside_control_waits_for_evidence_however_it_is_left() -> None:
    steps = [{"weight": 5, "for": "1s", "advance": "time"}, {"weight": 50, "for": "1s", "advance": "time"}]
    assert [each.wait for each in forecast(rollout([*steps, {"weight": 100}]))] == [
        Wait.TIME, Wait.EVIDENCE, Wait.TIME,
    ]  # fmt: skip


def test_a_shadow_waits_for_pairs() -> None:
    whole, part = (
        forecast(rollout([{"weight": 0, "mirror": {"canary": share}}, {"weight": 1, "for": "1s"}]))[0]
        for share in (100, 20)
    )
    assert whole.wait is part.wait is Wait.PAIRS
    assert span(whole, "candidate_requests") == span(whole, "requests") == span(part, "candidate_requests")
    assert span(part, "requests")[0] == pytest.approx(5 * span(whole, "requests")[0])


def test_of_sticky_units_only_those_that_moved_in_a_step_count() -> None:
    """From 10 % to 25 %: 15 % moved, beside 75 % on control."""
    by_id, sticky = (forecast(rollout(unit=unit))[1] for unit in ("id", "key"))
    assert span(sticky, "requests")[0] > 1.5 * span(by_id, "requests")[0]
    (note,) = [finding for finding in told(unit="key") if finding.path == ("unit",)]
    assert "first request of each unit" in note.message


def test_more_candidates_need_more_evidence() -> None:
    arms = {"control": "d@1", "a": "d@2", "b": "d@3"}
    one, two = forecast(rollout([{"weights": {"a": 10}}, {"weights": {"a": 10, "b": 10}}], arms=arms))
    assert span(two, "requests")[1] > span(one, "requests")[1]
    assert span(one, "requests")[0] > span(forecast(rollout())[0], "requests")[0]


def test_what_segments_alone_or_other_guards_prove_is_not_guessed() -> None:
    routes = [{"when": {"a": ["b"]}, "weights": {"canary": 50}}]
    (segment,) = forecast(rollout([], routes=routes), rate=5.0)
    (unguarded,) = forecast(rollout([{"weight": 10}], judge={"guards": {"errors": {"dry_run": True}}}), rate=5.0)
    for entry in (segment, unguarded):
        assert (entry.wait, entry.candidate_requests, entry.requests, entry.seconds) == (
            Wait.EVIDENCE,
            None,
            None,
            None,
        )


def test_what_scores_take_is_told_to_be_unplanned_where_a_step_waits_for_them() -> None:
    def notes(**fields: Any) -> list[str]:
        guard = {"output": "p", "range": [0, 1], "margin": "5%", **fields.pop("score", {})}
        found = told(judge={"guards": {"score": guard}}, **fields)
        return [each.message for each in found if each.path == ("judge", "guards", "score")]

    (split,), (shadow,) = notes(), notes(steps=[{"weight": 0, "mirror": {"canary": 50}}, {"weight": 100, "for": "1s"}])
    assert "cannot be planned" in split
    assert "Mirrored requests" not in split
    assert "Mirrored requests" in shadow
    assert notes(score={"dry_run": True}) == []
    assert notes(steps=[{"weight": 1, "for": "1s", "advance": "time"}, {"weight": 100, "for": "1s"}]) == notes()
    assert [each for each in told() if each.path[:1] == ("judge",)] == []


def test_evidence_that_comes_after_the_deadline_is_told_with_a_mirror_as_the_cure() -> None:
    judge = {"deadline": "1h"}
    (note,) = [finding for finding in told(5.0, judge=judge) if "deadline" in finding.message]
    assert note.path == ("steps", 0)
    assert "at 5 requests/s" in note.message
    assert "mirror first; the step `{weight: 0, mirror: {canary: 100}}` takes 2,500" in note.message
    assert not [finding for finding in told(5000.0, judge=judge) if "deadline" in finding.message]
    assert not [finding for finding in told(None, judge=judge) if "deadline" in finding.message]


def test_the_deadline_is_that_of_all_steps_together() -> None:
    times = [{"weight": 1, "for": "40m"}, {"weight": 1, "for": "30m"}, {"weight": 10}]
    (note,) = [f for f in told(1e6, times, judge={"deadline": "1h"}) if "deadline" in f.message]
    assert note.path == ("steps", 1)
    assert "set a later deadline" in note.message


def test_without_a_deadline_days_are_told() -> None:
    assert [finding.path for finding in told(0.2, [{"weight": 10}])] == [("steps", 0)]
    assert told(2.0, [{"weight": 10}]) == []


def test_a_step_without_control_is_told_with_a_holdback_as_the_cure() -> None:
    (note,) = told(None, [{"weight": 10}, {"weight": 100, "for": "60s"}])
    assert (note.path, "left after 60 s; `holdback: 5`" in note.message) == (("steps", 1), True)
    (note,) = told(None, [{"weight": 100}])
    assert "with its first window" in note.message
    assert told(None, [{"weight": 10}, {"weight": 100, "holdback": 5}]) == []


def test_evidence_that_never_comes_is_told() -> None:
    """No unit moves where a weight is not raised."""
    down = told(1.0, [{"weight": 10}, {"weight": 5}], unit="key")
    assert [finding.path for finding in down if "may never come" in finding.message] == [("steps", 1)]


def test_plain_serving_has_nothing_to_wait_for() -> None:
    read = parse({"rollout": "x", "arms": {"control": "d@1"}}, None)
    assert isinstance(read, Rollout)
    assert forecast(read, 1.0) == ()
    assert concerns(read, (), 1.0) == ()


def test_figures_are_as_people_say_them() -> None:
    assert [requests_text(number) for number in (0, 7, 20_868, 1_234_567, math.inf)] == [
        "0", "7", "21,000", "1,200,000", "no number",
    ]  # fmt: skip
    assert [duration_text(seconds) for seconds in (0, 0.5, 45, 600, 5999, 12_240, 200_000, math.inf)] == [
        "0 s", "0.5 s", "45 s", "10 min", "1.7 h", "3.4 h", "2 days", "for ever",
    ]  # fmt: skip
