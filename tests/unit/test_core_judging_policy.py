"""When a step is left, what is waited for at it, and what a person is told."""

from dataclasses import replace
from typing import Any

import pytest

from simulations.world import Behaviour, World, behaving, canary
from streamsplit.core.commands import Kind
from streamsplit.core.decision import DecisionKind, Verdict
from streamsplit.core.mirroring import MirrorCounts
from streamsplit.core.rollout import Phase
from streamsplit.core.summary import Probe, RunCounts, Summary


def mirroring(spec: dict[str, Any], *, failing: bool = False) -> World:
    """A world in which the candidate is asked what half of control's requests say, too."""

    def edit(summary: Summary) -> tuple[Summary, ...]:
        (start, requests), *_ = [(each.start, each.requests) for each in summary.windows if each.arm == "control"]
        mirrored = requests // 2
        bad = mirrored // 20 if failing else 0
        outcomes = {"ok": mirrored - bad, "fallback_error": bad}
        probes = tuple(Probe(start, "canary", 64, 5000, 5000 + 7 * number) for number in range(3))
        counts = MirrorCounts(start, -1, "canary", mirrored, outcomes, {}, 0, 0)
        return (replace(summary, mirrored=(counts,), probes=probes),)

    one = World(spec, behaving())
    one.edit = edit
    return one


SHADOW = {"weight": 0, "mirror": {"canary": 50}, "requests": 3000}


def test_a_shadow_is_left_on_what_mirrored_requests_say() -> None:
    one = mirroring(canary(steps=[SHADOW, {"weight": 10, "for": "1h"}]))
    one.run(60)
    assert one.state.step == 1
    reason = next(each.reasons[0] for each in one.decisions if each.kind is DecisionKind.ADVANCE)
    assert "every guard says it is good enough" in reason


def test_a_shadow_that_fails_where_control_does_not_is_taken_back() -> None:
    one = mirroring(canary(steps=[SHADOW, {"weight": 10}]), failing=True)
    one.run(60)
    assert one.state.phase is Phase.ROLLED_BACK
    assert one.decisions[-1].reasons[0].startswith("canary mirrored errors")


@pytest.mark.parametrize(("every", "found"), [(0, None), (20, "canary runs")])
def test_a_shadow_that_crashes_now_and_then_is_found_by_its_runs_and_its_rows_are_no_errors(
    every: int, found: str | None
) -> None:
    one = mirroring(canary(steps=[{**SHADOW, "for": "1h"}]))
    healthy = one.edit

    def crashing(summary: Summary) -> tuple[Summary, ...]:
        (seen,) = healthy(summary)
        fell = bool(every) and summary.sequence % every == 0
        counts = seen.mirrored[0]
        if fell:
            counts = replace(counts, outcomes={"fallback_error": counts.requests}, fallen=True)
        runs = RunCounts(counts.start, "canary", 1, 0, int(fell))
        return (replace(seen, mirrored=(counts,), runs=(runs,)),)

    one.edit = crashing
    one.run(200)
    (pairs,) = [each for each in one.decisions[-1].readings if each.guard == "mirrored errors"]
    assert pairs.counts["candidate_requests"] > 10_000
    assert pairs.candidate == 0.0
    assert (one.state.phase is Phase.ROLLED_BACK) == (found is not None)
    assert found is None or one.decisions[-1].reasons[0].startswith(found)


def test_a_candidate_that_never_had_a_share_of_the_default_route_is_promoted_by_a_person_only() -> None:
    one = mirroring(canary(steps=[SHADOW]))
    one.run(60)
    assert one.decisions[-1].reasons[0].endswith("is a person's choice: `streamsplit promote --full`")
    before = one.state.phase
    one.command(Kind.PROMOTE)
    assert (before, one.state.phase) == (Phase.PROGRESSING, Phase.PROMOTED)


def test_which_of_several_candidates_is_promoted_is_a_persons_choice_and_what_to_type_is_named() -> None:
    arms = {"control": "delay@1", "one": "delay@2", "other": "delay@3"}
    one = World(canary(arms=arms, steps=[{"weights": {"one": 30, "other": 30}}]), dict.fromkeys(arms, Behaviour()))
    one.run(60)
    ways = "`streamsplit promote --full --arm one` or `streamsplit promote --full --arm other`"
    assert one.decisions[-1].reasons[0].endswith(f"which of several candidates to promote is a person's choice: {ways}")
    before = one.state.phase
    one.command(Kind.PROMOTE, {"arm": "other"})
    assert (before, one.state.phase) == (Phase.PROGRESSING, Phase.PROMOTED)
    assert one.state.serving[0].label == "delay@3"


def test_a_step_does_not_wait_for_a_candidate_that_it_gives_nothing() -> None:
    arms = {"control": "delay@1", "one": "delay@2", "other": "delay@3"}
    steps = [{"weights": {"one": 10, "other": 0}}, {"weights": {"one": 10, "other": 10}, "for": "1h"}]
    one = World(canary(arms=arms, steps=steps), dict.fromkeys(arms, Behaviour()))
    one.run(120)
    assert one.state.step == 1


def test_the_last_step_beside_control_is_left_on_evidence_even_where_its_file_says_time() -> None:
    steps = [{"weight": weight, "for": "3s", "advance": "time"} for weight in (10, 50)]
    one = World(canary(steps=[*steps, {"weight": 100, "for": "3s"}]), behaving(), rate=20)
    one.run(60)
    assert one.state.step == 1
    assert any(reason.startswith("canary errors: evidence") for reason in one.decisions[-1].reasons)


def test_a_candidate_that_is_not_probed_waits_for_probes_and_a_person_is_told_so() -> None:
    one = World(canary(), behaving(), probes=0)
    one.run(60)
    assert one.state.step == 0
    cure = "where none can come `latency: {dry_run: true}` waits for none"
    assert one.decisions[-1].reasons == (f"canary speed: nothing to judge by yet (0 probes); {cure}",)
    cured = World(canary(judge={"window": "1s", "guards": {"latency": {"dry_run": True}}}), behaving(), probes=0)
    cured.run(60)
    assert cured.state.phase is Phase.PROMOTED


SHIFTED = {"output": "probability", "index": 1, "range": [0, 1]}


@pytest.mark.parametrize(
    ("mean", "guard", "verdict", "told"),
    [
        (0.3, {}, Verdict.OPEN, ""),
        (0.35, {}, Verdict.SHOWN, "told from 0.1, limit 0.25"),
        (0.35, {"shown": 0.2}, Verdict.OPEN, ""),
        (0.35, {"dry_run": True}, Verdict.SHOWN, "told from 0.1, limit 0.25"),
        (0.45, {"dry_run": True}, Verdict.HELD, "a dry run"),
    ],
)
def test_a_shift_above_what_is_to_be_shown_is_told_and_decides_nothing(
    mean: float, guard: dict[str, Any], verdict: Verdict, told: str
) -> None:
    judge = {"window": "1s", "grace": "1s", "guards": {"shift": {**SHIFTED, **guard}}}
    one = World(canary(judge=judge, steps=[{"weight": 50}, {"weight": 60, "for": "1h"}]), behaving(score=mean))
    one.run(40)
    assert one.state.step == 1
    (last,) = [each for each in one.decisions[-1].readings if each.guard == "shift"]
    assert last.verdict is verdict
    assert last.counts["shown"] == guard.get("shown", 0.1)
    shifts = [reason for reason in one.decisions[-1].reasons if reason.startswith("canary shift")]
    assert [told in reason for reason in shifts] == ([True] if told else [])


def test_a_step_is_not_left_on_time_while_a_guard_would_take_the_candidate_back_but_for_the_number_of_errors() -> None:
    def nine_errors(summary: Summary) -> tuple[Summary, ...]:
        windows = tuple(
            replace(each, outcomes={"ok": each.requests - 1, "fallback_error": 1}, served_by_arm=each.requests - 1)
            if each.arm == "canary" and 4 <= summary.sequence < 13
            else each
            for each in summary.windows
        )
        return (replace(summary, windows=windows),)

    steps = [{"weight": 1, "for": "15s", "advance": "time"}, {"weight": 10}]
    one = World(canary(steps=steps), {arm: Behaviour(error_rate=0.0) for arm in ("control", "canary")})
    one.edit = nine_errors
    one.run(40)
    assert (one.state.step, one.state.phase) == (0, Phase.PROGRESSING)
    assert one.decisions[-1].reasons[0].endswith("too few to take it back for")


def test_too_few_errors_hide_no_other_guard() -> None:
    fragile = {"control": Behaviour(error_rate=0.0), "canary": Behaviour(error_rate=0.0, micros=15_000.0)}
    one = World(canary(steps=[{"weight": 1, "for": "1h"}]), fragile)
    one.edit = lambda summary: (
        replace(
            summary,
            windows=tuple(
                replace(each, outcomes={"ok": each.requests - 1, "fallback_error": 1})
                if each.arm == "canary" and 4 <= summary.sequence < 13
                else each
                for each in summary.windows
            ),
        ),
    )
    one.run(60)
    assert one.state.phase is Phase.ROLLED_BACK
    assert one.decisions[-1].reasons[0].startswith("canary speed")


def test_the_deadline_ends_also_a_rollout_that_is_held() -> None:
    def half(summary: Summary) -> tuple[Summary, ...]:
        return (replace(summary, windows=tuple(each for each in summary.windows if each.arm == "control")),)

    judge = {"window": "1s", "grace": "1s", "deadline": "20s", "on_inconclusive": "rollback"}
    one = World(canary(judge=judge), behaving())
    one.edit = half
    one.run(40)
    assert one.state.phase is Phase.ROLLED_BACK
    assert [reason.split(":")[0] for reason in one.decisions[-1].reasons[:2]] == ["inconclusive", "canary split"]


@pytest.mark.parametrize("mode", ["auto", "advise"])
def test_what_waits_for_a_command_says_who_is_waited_for(mode: str) -> None:
    one = World(canary(mode=mode, steps=[{"weight": 50}, {"weight": 100}]), behaving())
    one.run(30)
    told = {reason for each in one.decisions for reason in each.reasons}
    assert ("advance is advised; nobody has asked for it yet" in told) == (mode == "advise")
