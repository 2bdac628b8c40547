"""What the judge keeps of control outside a rollout."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import pytest

from simulations.world import MODELS, Behaviour, World, behaving, canary
from streamsplit.core.commands import Kind
from streamsplit.core.judging.baseline import Baseline, Level
from streamsplit.core.rollout import State
from streamsplit.core.summary import FailingUnits, PartitionProgress, Summary, WindowCounts

YEAR = 365 * 86_400_000


def served(*rates: tuple[float, float], rate: float = 1000.0) -> World:
    """A world in which control alone has served, for so many seconds at each error rate; its log has no more."""
    one = World(canary(), behaving(), rate=rate)
    one.command(Kind.ABORT)
    plain = {"rollout": "plain", "arms": {"control": "delay@1"}}
    one.command(Kind.APPLY, {"spec": plain, "models": MODELS}, rollout="plain")
    one.command(Kind.BEGIN)
    for seconds, errors in rates:
        one.behaviours["control"] = Behaviour(error_rate=errors)
        for _ in range(int(2 * seconds)):
            one.batch()
    return one


def level(log: Iterable[tuple[Summary, State]]) -> Level:
    baseline = Baseline()
    for summary, state in log:
        baseline.take(summary, state)
    return baseline.level


def rate(log: Iterable[tuple[Summary, State]]) -> float:
    found = level(log)
    return found.errors / found.requests


def test_it_is_control_in_its_latest_20_windows_of_5_s() -> None:
    one = served((200, 0.5), (140, 0.02))
    found = level(one.log)
    assert found.requests == pytest.approx(100_000, rel=0.02)
    assert found.errors == pytest.approx(2_000, rel=0.1)


def test_its_record_is_small_however_many_requests_it_has_seen() -> None:
    def size(one: World) -> int:
        baseline = Baseline()
        for summary, state in one.log:
            baseline.take(summary, state)
        return len(json.dumps(baseline.to_plain()))

    short, long = (size(served((seconds, 0.01), rate=1e4)) for seconds in (150, 450))
    assert long < 1.1 * short < 4000


def test_the_first_window_of_a_revision_is_a_warm_up() -> None:
    assert rate(served((4.5, 1.0), (40, 0.01)).log) == pytest.approx(0.01, rel=0.3)
    assert rate(served((10.5, 1.0), (40, 0.01)).log) > 0.1, "the second is none"


def test_a_record_goes_on_exactly_at_any_point() -> None:
    one = served((60, 0.05))
    whole, parted = Baseline(), Baseline()
    for summary, state in one.log:
        whole.take(summary, state)
        parted = Baseline.from_plain(json.loads(json.dumps(parted.to_plain())))
        parted.take(summary, state)
        assert parted.to_plain() == Baseline.from_plain(json.loads(json.dumps(whole.to_plain()))).to_plain()
    assert parted.level == whole.level


@pytest.mark.parametrize("kind", [Kind.ACCEPT_LOSS, None])
def test_summaries_of_two_workers_count_alike_in_either_order(kind: Kind | None) -> None:
    one = served((80, 0.05))
    if kind is not None:
        one.command(kind, {"partition": 0, "to": 5})
        for _ in range(160):
            one.batch()
    both = [
        [(replace(each, slot=slot, partitions=(replace(each.partitions[0], partition=place),)), state)]
        for each, state in one.log
        for place, slot in enumerate(("w-0", "w-1"))
    ]
    pairs = [(first + second, second + first) for first, second in zip(both[::2], both[1::2], strict=True)]
    assert level(each for pair in pairs for each in pair[0]) == level(each for pair in pairs for each in pair[1])


def test_another_model_as_control_begins_anew() -> None:
    one = served((60, 0.5))
    plain = {"rollout": "other", "arms": {"control": "delay@2"}}
    one.command(Kind.APPLY, {"spec": plain, "models": MODELS}, rollout="other")
    for _ in range(20):
        one.batch()
    assert rate(one.log) > 0.3, "control serves as before while the other is loaded"
    one.command(Kind.BEGIN)
    one.behaviours["control"] = Behaviour(error_rate=0.01)
    for _ in range(80):
        one.batch()
    assert rate(one.log) == pytest.approx(0.01, rel=0.3)


def test_summaries_of_an_older_state_and_of_another_rollout_are_not_counted() -> None:
    one = served((60, 0.01))
    odd = [
        (replace(each, **differs, slot="w-1", windows=tuple(map(failed, each.windows))), state)
        for each, state in one.log
        for differs in ({"revision": state.revision - 1}, {"rollout": "another"})
    ]
    mixed = [each for pair in zip(one.log, odd[::2], odd[1::2], strict=True) for each in pair]
    assert level(mixed).errors == level(one.log).errors


def failed(counts: WindowCounts) -> WindowCounts:
    return replace(counts, outcomes={"dead_letter": counts.requests}, served_by_arm=0)


# -- what bad input gets ----------------------------------------------------------------------------------------------


def moved(milliseconds: int) -> Callable[[Summary], Summary]:
    def edit(summary: Summary) -> Summary:
        return replace(
            summary, windows=tuple(replace(each, start=each.start + milliseconds) for each in summary.windows)
        )

    return edit


def at_zero(summary: Summary) -> Summary:
    return replace(summary, windows=tuple(replace(each, start=0) for each in summary.windows))


def clock_from_next_year(summary: Summary) -> Summary:
    return replace(summary, written_time=summary.written_time + YEAR)


@pytest.mark.parametrize(
    "edit", [moved(-3_600_000), moved(YEAR), moved(2**62), moved(-(2**62)), at_zero, clock_from_next_year]
)
def test_requests_whose_times_are_off_count_with_the_others_as_they_do_in_a_rollout(
    edit: Callable[[Summary], Summary],
) -> None:
    one = served((200, 0.01))
    log = [(edit(each) if each.sequence % 10 == 3 else each, state) for each, state in one.log]
    sound, odd = level(one.log), level(log)
    assert odd.requests == pytest.approx(sound.requests, rel=0.15)
    assert odd.errors == pytest.approx(sound.errors, rel=0.25)


def test_a_record_from_next_year_among_others_does_not_stand_there_for_ever() -> None:
    one = served((30, 0.01), (200, 0.01))
    late = [
        (clock_from_next_year(moved(YEAR)(each)) if n == 40 else each, state) for n, (each, state) in enumerate(one.log)
    ]
    assert level(late).requests == pytest.approx(level(one.log).requests, rel=0.15)


def test_counts_that_cannot_be_are_left_out() -> None:
    one = served((60, 0.01))

    def odd(summary: Summary) -> Summary:
        first = summary.windows[0]
        wrong = (
            replace(first, requests=-3),
            replace(first, outcomes={"dead_letter": -7}),
            replace(first, outcomes={"dead_letter": 2**62}, requests=2**62),
            replace(first, fallen={"dead_letter": 10**9}),
            replace(first, rule=7),
            replace(first, arm="canary"),
            replace(first, arm="nobody"),
        )
        units = (FailingUnits(first.start, -1, "control", (1, 1), -5), FailingUnits(first.start, 7, "control", (2,), 0))
        return replace(summary, windows=(*summary.windows, *wrong), failing=units)

    assert level((odd(each), state) for each, state in one.log) == level(one.log)


def test_a_client_that_retries_a_failing_request_is_one_error() -> None:
    one = served((60, 0.05))
    retried = [
        (replace(each, failing=(FailingUnits(each.windows[0].start, -1, "control", (4711,) * bad, 0),)), state)
        for each, state in one.log
        for bad in [each.windows[0].outcomes.get("dead_letter", 0)]
    ]
    assert level(retried).errors <= 1
    once, each = level(retried), level(one.log)
    assert once.requests - once.errors == each.requests - each.errors


def test_without_a_rollout_nothing_is_kept() -> None:
    summary = Summary("w-0", 0, "", -1, 1000, (PartitionProgress(0, 0, 1, 0, 1000),))
    later = [replace(summary, sequence=number, written_time=1000 * number) for number in range(100)]
    assert [a.sequence < b.sequence for a, b in pairwise(later)]
    assert level((each, State()) for each in later) == Level()
