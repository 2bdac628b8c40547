"""What the judge takes in of summaries: nothing that they say stops it, and nothing impossible is counted."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from simulations.world import World, behaving, canary
from streamsplit.core.decision import Decision, Reading
from streamsplit.core.rollout import Phase
from streamsplit.core.summary import RunCounts, Summary

LARGE = 2**62


def reading(decision: Decision, guard: str) -> Reading:
    (found,) = [each for each in decision.readings if each.guard == guard]
    return found


def of_a_rule_that_is_not_there(summary: Summary) -> tuple[Summary, ...]:
    odd = tuple(replace(each, rule=rule) for each in summary.windows for rule in (7, -2))
    return (replace(summary, windows=(*summary.windows, *odd)),)


def with_large_counts(summary: Summary) -> tuple[Summary, ...]:
    large = (
        replace(each, requests=LARGE, outcomes={"ok": LARGE}, served_by_arm=LARGE, scores={3: LARGE})
        for each in summary.windows
    )
    return (replace(summary, windows=(*summary.windows, *large)),)


def with_large_runs_and_probes(summary: Summary) -> tuple[Summary, ...]:
    runs = (replace(each, batches=LARGE, candidate_failed=LARGE) for each in summary.runs)
    probes = (replace(each, rows=LARGE, control_micros=2**63 - 1) for each in summary.probes)
    return (replace(summary, runs=(*summary.runs, *runs), probes=(*summary.probes, *probes)),)


def with_a_probe_of_a_day(summary: Summary) -> tuple[Summary, ...]:
    probes = (replace(each, candidate_micros=86_400_000_000) for each in summary.probes[:1])
    return (replace(summary, probes=(*summary.probes, *probes)),)


def of_many_strangers(summary: Summary) -> tuple[Summary, ...]:
    strangers = tuple(replace(summary.windows[0], arm=f"arm {summary.sequence} {number}") for number in range(100))
    return (replace(summary, windows=(*summary.windows, *strangers)),)


@pytest.mark.parametrize(
    "edit",
    [
        of_a_rule_that_is_not_there,
        with_large_counts,
        with_large_runs_and_probes,
        with_a_probe_of_a_day,
        of_many_strangers,
    ],
)
def test_what_the_rollout_cannot_have_changes_no_decision(edit: Callable[[Summary], tuple[Summary, ...]]) -> None:
    usual, odd = World(canary(), behaving()), World(canary(), behaving())
    odd.edit = edit
    for one in (usual, odd):
        one.run(20)
    assert len(odd.judge.record()) < len(usual.judge.record()) + 100
    assert len(usual.decisions) > 10
    assert odd.decisions == usual.decisions


def test_failed_runs_of_another_rollout_count_for_no_limit() -> None:
    def foreign(summary: Summary) -> tuple[Summary, ...]:
        failed = tuple(RunCounts(each.start, each.arm, 1, 0, 1) for each in summary.runs)
        return (summary, replace(summary, rollout="another", runs=failed))

    one = World(canary(), behaving())
    one.edit = foreign
    one.run(30)
    assert one.state.phase is Phase.PROGRESSING
    assert reading(one.decisions[-1], "run limit").counts["bad"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_windows_in_which_chance_left_an_arm_without_requests_do_not_look_like_a_wrong_split(seed: int) -> None:
    one = World(canary(steps=[{"weight": 10, "for": "1h"}]), behaving(), rate=5.0, seed=seed)
    one.run(600)
    split = reading(one.decisions[-1], "split")
    assert split.control == pytest.approx(0.1)
    assert split.candidate == pytest.approx(0.1, abs=0.03)
    assert split.log_e is not None
    assert split.log_e < 2


def test_a_candidate_that_gets_nothing_at_all_is_a_wrong_split() -> None:
    def without(summary: Summary) -> tuple[Summary, ...]:
        return (replace(summary, windows=tuple(each for each in summary.windows if each.arm == "control")),)

    one = World(canary(), behaving())
    one.edit = without
    one.run(20)
    assert one.decisions[-1].reasons[0].startswith("canary split: 0 % of the requests where 10 % is expected")
