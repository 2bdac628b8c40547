"""The judge on summaries: what it decides, that nothing stops it, and that whoever takes over decides the same."""

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from simulations.world import MODELS, World, behaving, canary, replayed, taken_over
from streamsplit.core.commands import Kind
from streamsplit.core.decision import Decision, DecisionKind, Verdict
from streamsplit.core.errors import DataError
from streamsplit.core.judge import LARGEST_RECORD, Judge
from streamsplit.core.mirroring import MirrorCounts
from streamsplit.core.rollout import Phase
from streamsplit.core.summary import FailingUnits, Probe, RunCounts, Summary

SCORE = {"score": {"output": "probability", "index": 1, "range": [0, 1], "margin": "15%"}}


def world(spec: dict[str, Any] | None = None, *, seed: int = 0, rate: float = 1000.0, **canary_differs: float) -> World:
    return World(spec or canary(), behaving(**canary_differs), rate=rate, seed=seed)


def phase(one: World) -> Phase:
    return one.state.phase


def judged(*guards: dict[str, Any], **more: Any) -> dict[str, Any]:
    merged = {name: value for each in guards for name, value in each.items()}
    return canary(judge={"window": "1s", "grace": "1s", "guards": merged, **more})


def kinds(decisions: list[Decision]) -> list[DecisionKind]:
    return [each.kind for each in decisions if each.command]


# -- what is decided --------------------------------------------------------------------------------------------------


def test_a_healthy_candidate_climbs_every_step_and_is_promoted() -> None:
    one = world()
    one.run(300)
    assert phase(one) is Phase.PROMOTED
    assert kinds(one.decisions) == [DecisionKind.ADVANCE] * 3 + [DecisionKind.PROMOTE]
    assert one.refusals == []


@pytest.mark.parametrize(
    ("differs", "guard"),
    [
        ({"error_rate": 0.03}, "errors"),
        ({"run_failure_rate": 0.3}, "runs"),
        ({"micros": 15_000.0}, "speed"),
        ({"score": 0.2}, "score drop"),
        ({"score": 0.4}, "score rise"),
    ],
)
def test_a_bad_candidate_is_taken_back_by_the_guard_that_its_fault_concerns(
    differs: dict[str, float], guard: str
) -> None:
    one = World(judged(SCORE), behaving(**differs))
    one.run(120)
    assert phase(one) is Phase.ROLLED_BACK
    assert one.decisions[-1].reasons[0].startswith(f"canary {guard}")
    assert "mean e-value" in one.decisions[-1].reasons[0]


def test_a_candidate_that_fails_every_request_is_taken_back_with_the_first_summary_though_no_window_has_closed() -> (
    None
):
    one = world(error_rate=1.0)
    one.batch()
    assert phase(one) is Phase.ROLLED_BACK
    assert one.decisions[0].window_start == one.decisions[0].window_end


def test_a_candidate_that_begins_to_fail_late_is_taken_back_by_the_limit_within_a_second() -> None:
    one = world(spec=canary(steps=[{"weight": 10, "for": "1h"}]))
    one.run(60)
    one.behaviours["canary"] = replace(one.behaviours["canary"], error_rate=1.0)
    one.run(1)
    assert phase(one) is Phase.ROLLED_BACK


def test_a_dry_run_decides_nothing_and_says_what_it_would_have() -> None:
    guards = {"errors": {"dry_run": True}}
    one = world(spec=judged(guards, deadline="20s"), error_rate=0.05)
    one.run(30)
    assert phase(one) is not Phase.ROLLED_BACK
    (errors,) = [each for each in one.decisions[10].readings if each.guard == "errors"]
    assert errors.dry_run
    assert errors.verdict is Verdict.BAD


def test_advice_is_written_and_commands_nothing() -> None:
    one = world(spec=canary(mode="advise"))
    one.run(60)
    advised = [each for each in one.decisions if each.command]
    assert [each.kind for each in advised] == [DecisionKind.ADVANCE]
    assert advised[0].advice
    assert one.state.step == 0


def test_bake_time_and_sample_must_both_have_passed() -> None:
    steps = [{"weight": 50, "for": "20s", "requests": 15_000}, {"weight": 100}]
    one = world(spec=canary(steps=steps))
    began = one.now
    one.run(120)
    first = next(each for each in one.decisions if each.command)
    assert first.log_time - began >= 30_000, "15,000 requests at 500 a second"
    waiting = [reason for each in one.decisions for reason in each.reasons]
    assert any(reason.startswith("bake time:") for reason in waiting)
    assert any(reason.startswith("sample:") for reason in waiting)


def test_a_paused_rollout_is_judged_and_not_moved() -> None:
    one = world()
    one.run(2)
    one.command(Kind.PAUSE)
    one.run(60)
    assert phase(one) is Phase.PAUSED
    assert "paused" in one.decisions[-1].reasons[0]
    one.behaviours["canary"] = replace(one.behaviours["canary"], error_rate=0.5)
    one.run(10)
    assert phase(one) is Phase.ROLLED_BACK


def test_past_the_deadline_the_rollout_is_held_or_taken_back_as_the_file_says() -> None:
    held = world(spec=judged(deadline="10s"), rate=20.0)
    held.run(30)
    assert phase(held) is Phase.PROGRESSING
    assert held.decisions[-1].reasons[0].startswith("inconclusive")
    back = world(spec=judged(deadline="10s", on_inconclusive="rollback"), rate=20.0)
    back.run(30)
    assert phase(back) is Phase.ROLLED_BACK


def test_without_requests_of_the_candidate_nothing_advances() -> None:
    one = world(spec=canary(steps=[{"weight": 10, "for": "1s", "advance": "time"}, {"weight": 100}]))
    one.edit = lambda summary: (without(summary, "canary"),)
    one.run(60)
    assert one.state.step == 0
    assert "no candidate requests at this step yet" in one.decisions[-1].reasons


# -- what bad input gets ----------------------------------------------------------------------------------------------


def without(summary: Summary, arm: str) -> Summary:
    return replace(summary, windows=tuple(each for each in summary.windows if each.arm != arm), runs=(), probes=())


def shifted(milliseconds: int) -> Callable[[Summary], tuple[Summary, ...]]:
    """A twentieth of the summaries has requests whose times are off."""

    def edit(summary: Summary) -> tuple[Summary, ...]:
        if summary.sequence % 20 != 10:
            return (summary,)
        off = tuple(replace(each, start=each.start + milliseconds) for each in summary.windows)
        return (replace(summary, windows=off),)

    return edit


def zeroed(summary: Summary) -> tuple[Summary, ...]:
    first = replace(summary.windows[0], start=0)
    return (replace(summary, windows=(first, *summary.windows[1:])),) if summary.sequence % 20 == 10 else (summary,)


def foreign(summary: Summary) -> tuple[Summary, ...]:
    return (summary, replace(summary, rollout="another", sequence=summary.sequence))


def dropped(summary: Summary) -> tuple[Summary, ...]:
    return () if summary.sequence % 7 == 3 else (summary,)


def impossible(summary: Summary) -> tuple[Summary, ...]:
    """Counts that cannot be: outcomes of an unknown kind, more errors than requests, unknown arms and rules."""
    first = summary.windows[0]
    odd = (
        replace(first, arm="nobody", rule=7, outcomes={"teleported": 5}, requests=-3),
        replace(first, arm="canary", outcomes={"fallback_error": -7}),
        replace(first, arm="canary", scores={5000: 3, 1: -2}, slow=10**12, clipped=-1),
        replace(first, arm="canary", fallen={"fallback_error": 10**9}),
    )
    probes = (Probe(first.start, "canary", -1, -5, 0), Probe(first.start, "nobody", 1, 5, 5))
    failing = FailingUnits(first.start, -1, "canary", tuple(range(300)), 5)
    runs = RunCounts(first.start, "canary", 1, 5, 7)
    mirrored = MirrorCounts(first.start, -1, "canary", 1, {"fallback_error": 9}, {"ok": 99}, -4, 0)
    return (
        replace(
            summary,
            windows=(*summary.windows, *odd),
            probes=(*summary.probes, *probes),
            failing=(failing,),
            runs=(*summary.runs, runs),
            mirrored=(mirrored,),
        ),
    )


EDITS: dict[str, Callable[[Summary], tuple[Summary, ...]]] = {
    "an hour late": shifted(-3_600_000),
    "from next year": shifted(365 * 86_400_000),
    "time zero": zeroed,
    "another rollout's": foreign,
    "missing": dropped,
    "impossible": impossible,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_odd_summaries_neither_stop_the_judge_nor_take_back_a_healthy_candidate(
    edit: Callable[[Summary], tuple[Summary, ...]],
) -> None:
    one = world()
    one.edit = edit
    one.run(200)
    assert phase(one) in {Phase.PROGRESSING, Phase.PROMOTED}
    assert len(one.decisions) > 20


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_odd_summaries_do_not_hide_a_bad_candidate(edit: Callable[[Summary], tuple[Summary, ...]]) -> None:
    one = world(error_rate=0.1)
    one.edit = edit
    one.run(60)
    assert phase(one) is Phase.ROLLED_BACK


def test_a_client_that_retries_one_failing_request_is_one_error() -> None:
    def retried(summary: Summary) -> tuple[Summary, ...]:
        counts = [each for each in summary.windows if each.arm == "canary"]
        errors = counts[0].outcomes.get("fallback_error", 0) if counts else 0
        if not errors:
            return (summary,)
        named = FailingUnits(counts[0].start, -1, "canary", (4711,) * errors, 0)
        return (replace(summary, failing=(named,)),)

    one = world(error_rate=0.15)
    one.edit = retried
    one.run(60)
    (errors,) = [each for each in one.decisions[-1].readings if each.guard == "errors"]
    assert errors.counts["candidate_errors"] <= 1


def test_an_operator_who_aborts_in_the_middle_of_a_window_ends_the_judging() -> None:
    one = world()
    one.run(3)
    before = len(one.decisions)
    one.command(Kind.ABORT)
    for _ in range(10):
        one.batch()
    assert len(one.decisions) == before


def test_a_rollout_that_replaces_another_starts_with_no_evidence() -> None:
    one = world(error_rate=0.02)
    one.run(3)
    one.command(Kind.ABORT)
    one.command(Kind.APPLY, {"spec": canary(rollout="again"), "models": MODELS}, rollout="again")
    one.command(Kind.BEGIN)
    one.run(3)
    first = next(each for each in one.decisions if each.rollout == "again")
    (errors,) = [each for each in first.readings if each.guard == "errors"]
    assert errors.counts["candidate_requests"] == 0, "the first window is warm-up"


# -- taking over ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2, 7, 31])
def test_whoever_takes_over_or_replays_decides_the_same_bit_for_bit(every: int) -> None:
    one = world(spec=judged(SCORE), error_rate=0.012, seed=every)
    one.run(40)
    assert len(one.decisions) > 10
    assert replayed(one) == one.decisions
    assert taken_over(one, every) == one.decisions


def test_its_record_is_small_however_many_requests_it_has_seen() -> None:
    small, large = (world(spec=judged(SCORE), rate=rate) for rate in (200.0, 20_000.0))
    for one in (small, large):
        one.run(20)
    assert len(large.judge.record()) < LARGEST_RECORD
    assert len(large.judge.record()) < 4 * len(small.judge.record()), (
        "a hundred times the requests fill more score bins"
    )


@pytest.mark.parametrize("record", [b"", b"no record", Judge.fresh().record()[:-3]])
def test_a_damaged_record_is_refused(record: bytes) -> None:
    with pytest.raises(DataError, match="damaged"):
        Judge.restored(record)


def test_evidence_that_cannot_be_read_is_lost_and_the_judge_goes_on() -> None:
    one = world(error_rate=0.05)
    one.run(5)
    plain = json.loads(zlib.decompress(one.judge.record()))
    plain["case"]["candidates"]["canary"] = {"errors": "gone"}
    one.judge = Judge.restored(zlib.compress(json.dumps(plain).encode()))
    one.run(60)
    assert phase(one) is Phase.ROLLED_BACK


def test_a_candidate_that_could_not_bear_all_of_the_traffic_is_held() -> None:
    one = World(judged({"latency": {"dry_run": True}}), behaving(micros=90_000.0), rate=1000.0)
    one.run(60)
    assert phase(one) is Phase.PROGRESSING
    assert any(reason.startswith("canary capacity") for reason in one.decisions[-1].reasons)


def test_decisions_have_ids_of_their_own() -> None:
    one = world()
    one.run(30)
    ids = [each.decision_id for each in one.decisions]
    assert len(set(ids)) == len(ids)
