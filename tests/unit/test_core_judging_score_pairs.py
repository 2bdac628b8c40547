"""Scores of mirrored requests in whole rollouts: what a shadow waits for, what takes it back, what a person is told."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simulations.world import World, behaving, canary, replayed, taken_over
from streamsplit.core.decision import Decision, DecisionKind, Reading, Verdict
from streamsplit.core.guards import ScoreGuard
from streamsplit.core.mirroring import MirrorCounts, ScorePairs
from streamsplit.core.records import Outcome
from streamsplit.core.rollout import Phase
from streamsplit.core.score_pairs import Scored, count_pairs
from streamsplit.core.summary import Probe, Summary

SCORE = {"output": "probability", "range": [0, 1], "margin": "10%"}
SHADOW = {"weight": 0, "mirror": {"canary": 50}, "requests": 500}
BOTH = ["mirrored score drop", "mirrored score rise"]


def shadowed(
    lower: float = 0.0,
    *,
    missing: float = 0.0,
    steps: tuple[Any, ...] = (SHADOW, {"weight": 10, "for": "1h"}),
    **score: Any,
) -> World:
    """A world in which half of control's requests are mirrored and scored as a worker does.

    Args:
        lower: By what share of control's scores the candidate's are lower on average.
        missing: Share of requests to which the candidate gives no score.
        steps: Of the ramp.
        score: Settings of the guard that differ.
    """
    judge = {"window": "1s", "grace": "1s", "guards": {"score": {**SCORE, **score}}}
    one = World(canary(steps=list(steps), judge=judge), behaving())
    generator = np.random.default_rng(5)

    def edit(summary: Summary) -> tuple[Summary, ...]:
        (counted, *_) = [each for each in summary.windows if each.arm == "control"]
        requests = counted.requests // 2
        x = generator.beta(6, 14, requests) * 0.8
        x *= guard(one).score.high
        y = x * (1 - lower) * generator.uniform(0.9, 1.1, requests)
        y[generator.random(requests) < missing] = np.nan
        outcomes = np.full(requests, Outcome.OK, np.int8)
        (pairs,) = count_pairs(Scored(guard(one), x, y, outcomes), np.zeros(requests, np.int64), 1)
        mirrored = MirrorCounts(counted.start, -1, "canary", requests, {"ok": requests}, {}, 0, 0, pairs)
        probes = tuple(Probe(counted.start, "canary", 64, 5000, 5000 + 7 * number) for number in range(3))
        return (replace(summary, mirrored=(mirrored,), probes=probes),)

    one.edit = edit
    return one


def guard(world: World) -> ScoreGuard:
    assert world.state.rollout is not None
    assert world.state.rollout.judge.score is not None
    return world.state.rollout.judge.score


def readings(decision: Decision) -> list[Reading]:
    return [each for each in decision.readings if each.guard.startswith("mirrored score")]


def test_a_shadow_whose_scores_are_controls_goes_on_and_not_before_both_directions_are_sure() -> None:
    one = shadowed()
    one.run(60)
    assert one.state.step == 1
    advance = next(each for each in one.decisions if each.kind is DecisionKind.ADVANCE)
    assert [(each.guard, each.verdict) for each in readings(advance)] == [(name, Verdict.GOOD) for name in BOTH]
    needed = [each.log_needed_good for each in readings(advance)]
    for each in one.decisions[: one.decisions.index(advance)]:
        assert each.kind is DecisionKind.HOLD
    assert all((each.log_e_good or 0.0) >= (log or 0.0) for each, log in zip(readings(advance), needed, strict=True))


def test_a_shadow_waits_for_scores_that_do_not_come_and_a_person_is_told_so() -> None:
    one = shadowed()
    usual = one.edit

    def unscored(summary: Summary) -> tuple[Summary, ...]:
        (edited,) = usual(summary)
        return (replace(edited, mirrored=tuple(replace(each, scores=ScorePairs()) for each in edited.mirrored)),)

    one.edit = unscored
    one.run(60)
    assert one.state.step == 0
    assert one.decisions[-1].reasons == tuple(
        f"canary {name}: nothing to judge by yet (0 candidate scores)" for name in BOTH
    )


@pytest.mark.parametrize(("lower", "name"), [(0.3, BOTH[0]), (-0.3, BOTH[1])])
def test_a_shadow_whose_scores_have_moved_is_taken_back_by_name(lower: float, name: str) -> None:
    one = shadowed(lower)
    one.run(60)
    assert one.state.phase is Phase.ROLLED_BACK
    assert one.decisions[-1].reasons[0].startswith(f"canary {name} {1 - lower:.2g}")


@pytest.mark.parametrize(("lower", "direction"), [(0.3, "rise"), (-0.3, "drop")])
def test_a_move_that_nobody_minds_is_no_reason(lower: float, direction: str) -> None:
    one = shadowed(lower, direction=direction)
    one.run(60)
    assert one.state.step == 1
    assert [each.guard for each in readings(one.decisions[-1])] == [f"mirrored score {direction}"]


def test_a_dry_run_is_shown_and_neither_takes_back_nor_is_waited_for() -> None:
    one = shadowed(0.3, dry_run=True)
    one.run(60)
    assert one.state.step == 1
    drop, rise = readings(one.decisions[-1])
    assert (drop.dry_run, drop.verdict, rise.dry_run) == (True, Verdict.BAD, True)
    deciding = readings_needed(one)
    assert deciding == pytest.approx(np.log(5 / 0.05))  # errors, runs, mirrored errors, speed, tails


def test_the_two_directions_share_alpha_with_all_other_guards() -> None:
    one = shadowed()
    one.run(5)
    assert readings_needed(one) == pytest.approx(np.log(9 / 0.05))


def readings_needed(world: World) -> float | None:
    return next(each.log_needed for each in world.decisions[-1].readings if each.guard == "errors")


def test_a_candidate_that_gives_no_score_to_a_fifth_of_the_requests_does_not_go_on() -> None:
    one = shadowed(missing=0.2)
    one.run(60)
    assert (one.state.step, one.state.phase) == (0, Phase.PROGRESSING)
    drop, rise = readings(one.decisions[-1])
    assert drop.counts["unscored"] > 1000
    assert {drop.verdict, rise.verdict} == {Verdict.OPEN}


def test_a_margin_that_says_nothing_beside_controls_mean_holds_the_rollout() -> None:
    one = shadowed(margin=0.2)
    one.run(30)
    assert one.state.step == 0
    assert any("its `margin` is too wide" in reason for reason in one.decisions[-1].reasons)


def test_the_means_that_are_shown_are_those_of_the_requests_that_both_scored() -> None:
    one = shadowed(0.05, missing=0.2)
    one.run(20)
    drop, _ = readings(one.decisions[-1])
    assert drop.control == pytest.approx(0.24, abs=0.005)
    assert drop.candidate == pytest.approx(0.24 * 0.95, abs=0.005)
    assert drop.effect == pytest.approx(0.95, abs=0.01)


def test_a_range_of_another_scale_is_judged_alike_and_shown_on_its_own() -> None:
    one, other = shadowed(0.05, missing=0.1), shadowed(0.05, missing=0.1, range=[0, 200])
    for each in (one, other):
        each.run(5)
    for small, large in zip(readings(one.decisions[-1]), readings(other.decisions[-1]), strict=True):
        assert (small.log_e, small.log_e_good) == pytest.approx((large.log_e, large.log_e_good))
        assert (large.control, large.candidate) == pytest.approx((200 * small.control, 200 * small.candidate))  # type: ignore[operator]


def test_evidence_for_a_shadow_is_of_the_present_stay_and_that_against_it_of_all() -> None:
    steps = ({**SHADOW, "for": "10s"}, {"weight": 10, "mirror": {"canary": 50}, "for": "1h"})
    one = shadowed(steps=steps)
    one.run(60)
    assert one.state.step == 1
    advance = next(each for each in one.decisions if each.kind is DecisionKind.ADVANCE)
    after = one.decisions[one.decisions.index(advance) + 1]
    good = [each.log_e_good or 0.0 for each in readings(after)]
    assert max(good) < min(each.log_e_good or 0.0 for each in readings(advance))
    assert [each.counts["candidate_scores"] for each in readings(after)] >= [1000, 1000]


def test_judges_that_hand_over_decide_the_same() -> None:
    one = shadowed(0.05, missing=0.2)
    one.run(20)
    assert len(one.decisions) > 10
    assert replayed(one) == one.decisions
    assert taken_over(one, every=3) == one.decisions


LARGE = 2**62
WRONG = [
    {"scored": LARGE},
    {"clipped": LARGE},
    {"unscored": -1},
    {"control": -1},
    {"squares": LARGE},
    {"drop": {}},
    {"drop": {0: 1}},
    {"rise": {1001: 1000}},
    {"rise": {500: LARGE}},
    {"drop_unscored": {0: 1000}},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_pairs_that_contradict_themselves_are_left_out(wrong: dict[str, Any]) -> None:
    usual, odd = shadowed(0.05), shadowed(0.05)
    edit = odd.edit

    def doubled(summary: Summary) -> tuple[Summary, ...]:
        (edited,) = edit(summary)
        (counts,) = edited.mirrored
        return (replace(edited, mirrored=(counts, replace(counts, scores=replace(counts.scores, **wrong)))),)

    odd.edit = doubled
    for one in (usual, odd):
        one.run(6)
    assert len(usual.decisions) > 2
    assert odd.decisions == usual.decisions
