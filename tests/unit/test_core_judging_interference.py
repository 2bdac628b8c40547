"""Control beside its own level before the rollout: what is held, for how long, and what is left alone."""

import json
import math
import zlib
from dataclasses import replace
from typing import Any

import pytest

from simulations.ramp import SegmentedWorld
from simulations.world import MODELS, Behaviour, World, behaving, canary, replayed, taken_over
from streamsplit.core.commands import Kind
from streamsplit.core.decision import Decision, DecisionKind, Reading, Verdict
from streamsplit.core.guards import ErrorGuard
from streamsplit.core.judge import Judge
from streamsplit.core.judging.baseline import Level
from streamsplit.core.judging.interference import Interference, RouteCounts, level_told
from streamsplit.core.rollout import Phase

LONG = [{"weight": 10, "for": "30s"}, {"weight": 25, "for": "1h"}]
STARVED = {"control": Behaviour(error_rate=0.1), "canary": Behaviour(error_rate=0.1)}


def reading(decision: Decision) -> Reading:
    (found,) = [each for each in decision.readings if each.guard == "interference"]
    return found


def starved(**spec: Any) -> World:
    """A world in which both arms begin to fail ten times as often after 10 s of the rollout."""
    one = World(canary(**{"steps": LONG, **spec}), behaving(), before=120)
    one.run(10)
    one.behaviours = dict(STARVED)
    return one


def held(one: World) -> list[Decision]:
    return [each for each in one.decisions if any("control itself" in reason for reason in each.reasons)]


# -- what is held -----------------------------------------------------------------------------------------------------


def test_a_rollout_under_which_control_fails_ten_times_as_often_is_held_and_never_taken_back() -> None:
    one = starved()
    one.run(300)
    assert (one.state.phase, one.state.step) == (Phase.PROGRESSING, 0)
    assert one.decisions[-1].kind is DecisionKind.HOLD
    assert reading(one.decisions[-1]).verdict is Verdict.HELD
    told = one.decisions[-1].reasons[0]
    assert told.startswith("control itself failed 9.83 % of its requests, before the rollout 1.02 % (at most 1.36 %")
    assert "look at the machines; held for 20 windows more" in told


def test_it_is_found_within_two_windows() -> None:
    one = starved()
    began = one.now
    one.run(10)
    assert held(one)[0].window_start <= began + 1000


def test_the_rollout_goes_on_20_windows_after_control_has_its_old_level_again() -> None:
    one = starved()
    one.run(60)
    one.behaviours = behaving()
    mended = one.now
    one.run(60)
    last = held(one)[-1]
    assert mended + 17_000 <= last.window_start <= mended + 22_000
    assert one.state.step == 1


def test_a_control_that_is_as_before_is_not_held_and_a_healthy_candidate_promoted() -> None:
    one = World(canary(), behaving(), before=120)
    one.run(300)
    assert one.state.phase is Phase.PROMOTED
    assert not held(one)
    shown = reading(one.decisions[-1])
    assert shown.verdict is Verdict.OPEN
    assert shown.control == pytest.approx(0.01, rel=0.2)
    assert shown.candidate == pytest.approx(0.01, rel=0.5)


def test_a_candidate_that_is_worse_than_a_starved_control_is_taken_back_all_the_same() -> None:
    one = starved()
    one.behaviours["canary"] = Behaviour(error_rate=0.3)
    one.run(60)
    assert one.state.phase is Phase.ROLLED_BACK
    assert not any("control itself" in reason for reason in one.decisions[-1].reasons)


def test_where_control_answers_nothing_any_more_what_was_found_before_holds_nothing_for_ever() -> None:
    one = starved(steps=[{"weight": 10, "for": "30s"}, {"weight": 100, "for": "30s"}])
    one.run(30)
    assert held(one)
    one.command(Kind.ADVANCE)
    one.run(60)
    assert one.state.phase is Phase.PROMOTED


def test_a_hold_does_not_outlast_the_deadline_of_a_file_that_wants_a_rollback_then() -> None:
    judge = {"window": "1s", "grace": "1s", "deadline": "40s", "on_inconclusive": "rollback"}
    one = starved(judge=judge)
    one.run(60)
    assert one.state.phase is Phase.ROLLED_BACK
    assert one.decisions[-1].reasons[1].startswith("control itself")


# -- what is left alone -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        {"judge": {"window": "1s", "grace": "1s", "guards": {"errors": {"dry_run": True}}}},
        {"unit": "key", "steps": [{"weight": 10, "for": "10s", "advance": "time"}, {"weight": 25, "for": "1h"}]},
    ],
    ids=["dry run", "sticky units"],
)
def test_a_dry_run_and_sticky_units_are_shown_and_not_held(spec: dict[str, Any]) -> None:
    one = starved(**spec)
    one.run(30)
    found = [reading(each) for each in one.decisions]
    assert found[-1].verdict is Verdict.HELD
    assert found[-1].dry_run
    assert not held(one)


@pytest.mark.parametrize("before", [0.5, 5.0])
def test_of_less_than_200_requests_before_the_rollout_it_says_nothing_and_shows_why(before: float) -> None:
    one = World(canary(steps=LONG), dict(STARVED), before=before)
    one.run(30)
    shown = reading(one.decisions[-1])
    assert (shown.verdict, shown.log_e, shown.log_needed) == (Verdict.OPEN, None, None)
    assert shown.counts["before_requests"] < 200


def test_a_judge_that_knows_nothing_of_the_time_before_has_no_such_reading() -> None:
    one = World(canary(steps=LONG), behaving())
    one.run(10)
    assert not [each for each in one.decisions[-1].readings if each.guard == "interference"]


def test_a_control_that_keeps_a_segment_that_fails_more_often_is_not_starved() -> None:
    """Before the rollout it met .1 % in 70 % of the requests and 5 % in the others, 1.57 % together."""
    routes = [{"when": {"carrier": ["UA"]}, "weights": {"canary": 5}}]
    spec = canary(routes=routes, steps=[{"weight": 75, "for": "1h"}])
    rare, often = ({arm: Behaviour(error_rate=rate) for arm in ("control", "canary")} for rate in (0.001, 0.05))
    one = SegmentedWorld(spec, {"control": Behaviour(error_rate=0.0157)}, rate=700, before=120, part=3 / 7)
    one.behaviours, one.segment = rare, often
    one.run(300)
    shown = reading(one.decisions[-1])
    assert shown.candidate is not None
    assert shown.candidate > 1.5 * (shown.control or 1.0), "of what control still answers more fails"
    assert shown.log_e is not None
    assert shown.log_e < 0
    assert not held(one)
    one.behaviours, one.segment = ({arm: Behaviour(error_rate=0.1) for arm in rare} for _ in range(2))
    one.run(60)
    assert held(one)


def guard(level: Level = Level(20_000, 200)) -> Interference:  # noqa: B008 - a value that nothing changes
    return Interference(ErrorGuard(), level, 5, sticky=False)


def test_errors_that_come_in_groups_are_as_much_evidence_as_their_groups() -> None:
    single, tens = guard(Level(20_000, 200)), guard(Level(20_000, 200, 10.0))
    tenth = guard(Level(2_000, 20))
    for _ in range(3):
        single.take([RouteCounts(5, 0.9, 900, 60, 100)])
        tens.take([RouteCounts(5, 0.9, 900, 60, 100)])
        tenth.take([RouteCounts(5, 0.9, 90, 6, 10)])
    assert single.reading().verdict is Verdict.HELD
    assert tens.reading().verdict is Verdict.OPEN
    assert tens.log_e == pytest.approx(tenth.log_e, rel=1e-6)


def test_a_route_that_control_has_nothing_of_counts_as_if_it_had_not_failed_there() -> None:
    one, other = guard(), guard()
    for _ in range(5):
        one.take([RouteCounts(5, 0.5, 500, 10, 500)])
        other.take([RouteCounts(5, 0.5, 500, 10, 500), RouteCounts(5, 0.0, 0, 0, 1000)])
    assert (one.log_e or 0.0) > (other.log_e or 0.0)
    for _ in range(5):
        other.take([RouteCounts(5, 0.0, 0, 0, 1000)])
    assert other.reading().counts["control_requests"] == 2500


def test_the_share_of_a_route_counts_though_chance_left_control_nothing_of_it() -> None:
    one, other = guard(), guard()
    one.take([RouteCounts(5, 0.9, 900, 90, 100)])
    other.take([RouteCounts(5, 0.9, 900, 90, 100), RouteCounts(5, 0.1, 0, 0, 3)])
    assert (other.log_e or 0.0) < (one.log_e or 0.0)


def test_what_was_served_before_candidates_answered_is_not_counted() -> None:
    one = guard()
    one.take([RouteCounts(4, 1.0, 1000, 500, 0)])
    assert one.log_e == pytest.approx(0.0)
    assert one.reading().counts["control_requests"] == 0


# -- its own level ----------------------------------------------------------------------------------------------------


def again(one: World, control: str, candidate: str) -> Reading:
    """The reading of a second rollout, applied now, as candidates begin to answer."""
    spec = canary(rollout="again", arms={"control": control, "canary": candidate}, steps=LONG)
    one.command(Kind.APPLY, {"spec": spec, "models": MODELS}, rollout="again")
    one.command(Kind.BEGIN)
    one.run(5)
    assert one.decisions[-1].rollout == "again"
    return reading(one.decisions[-1])


def test_behind_a_promotion_the_level_is_that_of_the_new_control() -> None:
    one = World(canary(), behaving(), before=120)
    one.behaviours["canary"] = Behaviour(error_rate=0.0)
    one.command(Kind.PROMOTE)
    one.behaviours["control"] = Behaviour(error_rate=0.05)
    for _ in range(120):
        one.batch()
    level = again(one, "delay@2", "delay@3")
    assert level.control == pytest.approx(0.05, rel=0.1)
    assert level.counts["before_requests"] < 60_000


def test_behind_a_rollback_the_level_begins_anew() -> None:
    one = starved()
    one.run(10)
    one.command(Kind.ABORT)
    one.behaviours = behaving()
    for _ in range(90):
        one.batch()
    level = again(one, "delay@1", "delay@3")
    assert level.control == pytest.approx(0.01, rel=0.3)
    assert 20_000 < level.counts["before_requests"] < 45_000


def test_requests_while_a_rollout_is_prepared_belong_to_the_level() -> None:
    one = World(canary(), behaving(), before=5)
    one.command(Kind.ABORT)
    spec = canary(rollout="again", steps=LONG)
    one.command(Kind.APPLY, {"spec": spec, "models": MODELS}, rollout="again")
    for _ in range(120):
        one.batch()
    one.command(Kind.BEGIN)
    one.run(5)
    assert 40_000 < reading(one.decisions[-1]).counts["before_requests"] < 60_000


# -- taking over ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 7, 31])
def test_whoever_takes_over_at_any_point_decides_the_same_bit_for_bit(every: int) -> None:
    one = World(canary(steps=LONG), behaving(), before=40, rate=300, seed=every)
    one.run(10)
    one.behaviours = dict(STARVED)
    one.run(20)
    assert held(one)
    assert replayed(one) == one.decisions
    assert taken_over(one, every) == one.decisions


def test_a_judge_that_begins_again_with_the_rollout_and_overhears_what_was_before_decides_the_same() -> None:
    one = starved()
    one.run(20)
    judge, decisions = Judge.fresh(), list[Decision]()
    for offset, (summary, state) in enumerate(one.log):
        if summary.revision < one.decisions[0].apply_revision:
            judge.overhear(summary, state)
        else:
            decisions += judge.take(summary, offset, state, state.revision + 1)
    assert decisions == one.decisions


def test_a_level_that_is_told_stands_for_summaries_that_are_gone() -> None:
    one = starved()
    one.run(20)
    first = one.decisions[0]
    told = level_told(first.readings)
    assert told is not None
    for levels, alike in (({first.apply_revision: told}, True), ({}, False)):
        judge, decisions = Judge(levels), list[Decision]()
        for offset, (summary, state) in enumerate(one.log):
            if summary.revision >= first.apply_revision:
                decisions += judge.take(summary, offset, state, state.revision + 1)
        assert (decisions == one.decisions) is alike


@pytest.mark.parametrize(
    "differs",
    [
        {"before_errors": 6.0},
        {"before_errors": -1.0},
        {"before_requests": math.inf},
        {"before_requests": math.nan},
        {"before_scatter": 0.5},
        {"before_scatter": math.nan},
    ],
)
def test_a_level_that_cannot_be_is_not_told(differs: dict[str, float]) -> None:
    counts = {"before_requests": 5.0, "before_errors": 4.0, "before_scatter": 1.0}
    told = Reading("interference", "control", Verdict.OPEN, counts=counts)
    assert level_told([told]) == Level(5, 4)
    assert level_told([replace(told, guard="errors")]) is None
    assert level_told([replace(told, counts={**counts, **differs})]) is None
    assert level_told([replace(told, counts={})]) is None


def test_a_level_that_cannot_be_read_is_lost_and_the_judge_goes_on() -> None:
    one = World(canary(steps=LONG), behaving(), before=20)
    plain = json.loads(zlib.decompress(one.judge.record()))
    plain["baseline"]["closed"] = "gone"
    one.judge = Judge.restored(zlib.compress(json.dumps(plain).encode()))
    one.run(10)
    assert one.decisions
    assert not [each for each in one.decisions[-1].readings if each.guard == "interference"]
