"""Windows of request time: when they close, what counts in them, and what bad input cannot do to them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsplit.core.closing import MOST_OPEN, PATIENCE_MS, Windows
from streamsplit.core.doses import ArmCounts, ClosedWindow
from streamsplit.core.log_time import SILENCE_MS, LogTime
from streamsplit.core.mirroring import MirrorCounts
from streamsplit.core.summary import (
    FailingUnits,
    PartitionProgress,
    Probe,
    RunCounts,
    Summary,
    WindowCounts,
    in_parts,
)
from streamsplit.core.windows import window_start

WINDOW, GRACE = 5_000, 2_000
NOON = 1_785_585_600_000
"""A multiple of all windows' lengths in here."""
HOUR, YEAR = 3_600_000, 31_536_000_000

Row = tuple[int, str]


def counts(times: Iterable[Row], rule: int = -1, window: int = WINDOW) -> tuple[WindowCounts, ...]:
    """Requests, each a time and an arm, as a worker counts them."""
    cells = Counter((window_start(window, time), arm) for time, arm in times)
    return tuple(WindowCounts(start, rule, arm, n, {"ok": n}, n) for (start, arm), n in sorted(cells.items()))


@dataclass
class Log:
    """A log of summaries that is judged as it is written.

    Attributes:
        windows: What reads it.
        closed: All that was closed so far.
        numbers: Slot → number of its next summary.
    """

    windows: Windows = field(default_factory=lambda: Windows(WINDOW, GRACE))
    closed: list[ClosedWindow] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)

    def say(
        self,
        written: int,
        newest: Mapping[int, int | None],
        rows: Iterable[Row] = (),
        *,
        slot: str = "w-0",
        lag: int = 0,
        **fields: Any,
    ) -> list[int]:
        """A worker writes a summary; the beginnings of the windows that it closes.

        Args:
            written: Its clock.
            newest: Partition → newest request time of what it just served; None: it served nothing of it.
            rows: Those requests.
            slot: The worker.
            lag: Of all its partitions.
            fields: Others of the summary.
        """
        summary = Summary(
            slot,
            self.numbers[slot],
            rollout=fields.pop("rollout", "delay-v2"),
            revision=fields.pop("revision", 7),
            written_time=written,
            partitions=tuple(
                PartitionProgress(number, 0, int(time is not None), lag, time) for number, time in newest.items()
            ),
            windows=fields.pop("windows", None) or counts(rows),
            **fields,
        )
        return self.take(summary)

    def take(self, summary: Summary) -> list[int]:
        self.numbers[summary.slot] = summary.sequence + 1
        closed = self.windows.take(summary)
        self.closed.extend(closed)
        return [each.start - NOON for each in closed]


def requests_of(windows: Iterable[ClosedWindow]) -> dict[int, int]:
    """Beginning after noon → requests of all rules, revisions and arms."""
    return {
        each.start - NOON: sum(arm.assigned for dose in each.doses for arm in dose.arms.values()) for each in windows
    }


def beside(base: int, *arms: str) -> list[Row]:
    return [(base, arm) for arm in arms or ("control", "canary")]


# When a window is closed


def test_a_window_is_closed_once_request_time_has_passed_its_end_by_the_grace() -> None:
    log = Log()
    assert log.say(NOON + 1_000, {0: NOON + 900}, beside(NOON + 900)) == []
    assert log.say(NOON + 7_000, {0: NOON + 6_999}, beside(NOON + 6_999)) == []
    assert log.say(NOON + 7_001, {0: NOON + 7_000}, beside(NOON + 7_000)) == [0]
    assert log.closed[0].end == NOON + WINDOW
    assert requests_of(log.closed) == {0: 2}
    assert log.windows.open == (NOON + 5_000,)
    assert log.windows.watermark == NOON + 7_000


def test_the_partition_that_is_furthest_behind_decides() -> None:
    log = Log()
    log.say(NOON + 1_000, {0: NOON, 1: NOON}, beside(NOON), lag=9)
    assert log.say(NOON + 30_000, {0: NOON + 29_000}, beside(NOON + 29_000), lag=9) == []
    assert log.say(NOON + 30_100, {1: NOON + 6_999}, beside(NOON + 6_999), lag=9) == []
    assert log.say(NOON + 30_200, {1: NOON + 7_000}, beside(NOON + 7_000), lag=9) == [0]
    assert log.say(NOON + 30_300, {1: NOON + 28_000}, beside(NOON + 28_000), lag=9) == [5_000]


def test_windows_come_in_order_each_once_and_those_without_requests_not_at_all() -> None:
    log = Log()
    for second in (0, 1, 11, 12, 26, 40, 60):
        log.say(NOON + second * 1_000, {0: NOON + second * 1_000}, beside(NOON + second * 1_000))
    assert requests_of(log.closed) == {0: 4, 10_000: 4, 25_000: 2, 40_000: 2}


def test_a_partition_that_has_requests_waiting_and_has_shown_no_time_yet_holds_the_windows() -> None:
    log = Log()
    log.say(NOON, {0: NOON, 1: None}, beside(NOON), lag=5)
    assert log.say(NOON + 9_000, {0: NOON + 9_000, 1: None}, beside(NOON + 9_000), lag=5) == []
    assert log.say(NOON + 9_500, {1: NOON + 8_000}, beside(NOON + 8_000), lag=5) == [0]


def test_an_idle_partition_holds_nothing_once_it_was_at_its_end_for_a_window() -> None:
    log = Log()
    log.say(NOON, {0: NOON}, beside(NOON))
    ahead = NOON + 20_000
    for second in range(5):
        assert log.say(NOON + second * 1_000, {0: None}, slot="w-0") == []
        busy = ahead + second * 1_000
        assert log.say(busy, {1: busy}, beside(busy), slot="w-1") == []
    assert log.say(NOON + 5_000, {0: None}) == [0]


def test_an_idle_partition_that_wakes_up_counts_again() -> None:
    log = Log()
    log.say(NOON, {0: NOON, 1: NOON}, beside(NOON))
    log.say(NOON + 6_000, {0: None, 1: NOON + 6_000}, beside(NOON + 6_000))
    assert log.say(NOON + 8_000, {0: None, 1: NOON + 8_000}, beside(NOON + 8_000)) == [0]
    log.say(NOON + 9_000, {0: NOON + 7_500, 1: NOON + 9_000}, beside(NOON + 9_000))
    assert log.windows.watermark == NOON + 8_000, "it never falls"
    assert log.say(NOON + 13_000, {1: NOON + 13_000}, beside(NOON + 13_000)) == []
    assert log.say(NOON + 13_100, {0: NOON + 12_000}, beside(NOON + 12_000)) == [5_000]


def test_a_partition_that_is_behind_is_not_idle_however_long_it_stands_still() -> None:
    log = Log()
    log.say(NOON, {0: NOON, 1: NOON}, beside(NOON), lag=3)
    for second in range(1, 60):
        assert log.say(NOON + second * 1_000, {0: None, 1: NOON + second * 1_000}, lag=3) == []


@pytest.mark.parametrize("clock", [0, -3 * HOUR, 3 * HOUR, -20 * YEAR])
def test_when_nothing_comes_any_more_windows_are_closed_by_log_time_whatever_the_clock_says(clock: int) -> None:
    log = Log()
    served = min(NOON + 1_000, NOON + 1_000 + clock + GRACE)
    begin = window_start(WINDOW, served)
    log.say(NOON + 1_000 + clock, {0: NOON + 1_000}, beside(NOON + 1_000))
    closed = []
    for second in range(2, 20):
        closed += [(second, start + NOON) for start in log.say(NOON + second * 1_000 + clock, {0: None})]
    # The window has its length and the grace to pass, of which some had passed when the request was made.
    elapsed = (begin + WINDOW + GRACE - served + 999) // 1_000
    assert closed == [(max(1 + elapsed, 6), begin)]


def test_a_worker_that_dies_holds_its_windows_for_ten_seconds_of_the_others_time() -> None:
    log = Log()
    log.say(NOON, {0: NOON}, beside(NOON), slot="dies", lag=5)
    closed = {}
    for tick in range(1, 15):
        time = NOON + tick * 1_000
        for start in log.say(time, {1: time}, beside(time), slot="lives", lag=5):
            closed[start] = log.windows.log_time - NOON
    silent = SILENCE_MS + 1_000
    assert closed == {0: silent, 5_000: silent}, "with the first summary that is more than ten seconds later"


def test_a_partition_is_carried_on_by_whoever_names_it_next() -> None:
    log = Log()
    log.say(NOON, {0: NOON}, beside(NOON), slot="dies", lag=5)
    for tick in range(1, 9):
        time = NOON + tick * 1_000
        log.say(time, {1: time}, beside(time), slot="lives", lag=5)
    assert log.say(NOON + 9_000, {0: NOON + 1_000, 1: NOON + 9_000}, beside(NOON + 1_000), slot="lives", lag=5) == []
    assert log.say(NOON + 15_000, {0: NOON + 6_999, 1: NOON + 15_000}, slot="lives", lag=5) == []
    assert log.say(NOON + 16_000, {0: NOON + 7_000}, slot="lives", lag=5) == [0]
    assert log.windows.late == 0


def test_a_partition_that_is_stuck_stops_the_judge_for_a_minute_at_most() -> None:
    log = Log()
    log.say(NOON, {0: NOON, 1: NOON}, beside(NOON), lag=8)
    closed = {}
    for second in range(1, 120):
        time = NOON + second * 1_000
        for start in log.say(time, {0: None, 1: time}, beside(time), lag=8):
            closed[start] = second * 1_000
    longest = WINDOW + GRACE + PATIENCE_MS
    assert closed == {start: start + longest for start in range(0, 119_000 - longest + 1, WINDOW)}


def test_a_backlog_of_three_days_closes_as_it_would_have_when_it_was_live() -> None:
    def judged(clock: Iterable[int]) -> list[ClosedWindow]:
        log = Log()
        for now, second in zip(clock, range(0, 100, 2), strict=True):
            time = NOON + second * 1_000
            log.say(now, {0: time, 1: time + 500}, [*beside(time), *beside(time + 500)], lag=100)
        assert log.windows.late == 0
        return log.closed

    live = judged(NOON + second * 1_000 + 700 for second in range(0, 100, 2))
    replayed = judged(NOON + 72 * HOUR + number for number in range(50))
    assert len(live) == 19
    assert replayed == live


# Clocks


@pytest.mark.parametrize("apart", [-30 * YEAR, -5 * HOUR, -30_000, -900, 0, 900, 30_000, 5 * HOUR, 30 * YEAR])
def test_two_workers_whose_clocks_are_hours_apart_are_judged_as_if_they_were_not(apart: int) -> None:
    log = Log()
    for tick in range(40):
        time = NOON + tick * 500
        slot, clock = ("w-0", time) if tick % 2 else ("w-1", time + apart)
        log.say(clock, {tick % 2: time - 100}, beside(time - 100), slot=slot, lag=1)
    elapsed = log.windows.log_time - (NOON + apart)
    assert elapsed in {19_000, 19_500}
    closed = requests_of(log.closed)
    assert [closed[start] for start in (0, 5_000, 10_000)] == [20, 20, 20]
    assert sum(closed.values()) == 62, "those of the first summary have the only clock that was known then"


def test_a_clock_that_is_set_back_or_forward_moves_log_time_by_little() -> None:
    log = Log()
    clock = NOON
    steps = {10: -3 * HOUR, 20: 6 * HOUR, 30: -YEAR}
    for tick in range(40):
        clock += 500 + steps.get(tick, 0)
        time = NOON + tick * 500
        log.say(clock, {0: min(time, clock)}, beside(min(time, clock)))
    assert 18_000 <= log.windows.log_time - NOON <= 20_000 + SILENCE_MS


def test_log_time_never_falls() -> None:
    log = Log()
    seen = []
    for tick, clock in enumerate((5, 3, 9, -40, 8, 7, 100, 0, 12)):
        log.say(NOON + clock * 1_000, {0: NOON}, slot=f"w-{tick % 2}")
        seen.append(log.windows.log_time)
    assert seen == sorted(seen)


def test_an_outage_of_all_workers_counts_as_ten_seconds_of_log_time() -> None:
    time = LogTime()
    for second in (0, 1, 2, 3 * 3_600, 3 * 3_600 + 1):
        time.hear("w-0", second, NOON + second * 1_000)
    assert time.now == NOON + 2_000 + SILENCE_MS + 1_000


def test_the_worker_that_moves_log_time_may_leave_and_another_moves_it_on() -> None:
    time = LogTime()
    for second in range(20):
        time.hear("leads", second, NOON + second * 1_000)
        if second > 5:
            time.hear("follows", second, NOON - HOUR + second * 900)
    for second in range(20, 60):
        time.hear("follows", second, NOON - HOUR + second * 900)
    assert 19_000 + 40 * 900 - SILENCE_MS <= time.now - NOON <= 19_000 + 40 * 900


def test_a_worker_that_was_away_for_an_hour_can_move_log_time_on_alone() -> None:
    time = LogTime()
    time.hear("away", 0, NOON)
    for second in range(3_600):
        time.hear("stays", second, NOON + second * 1_000)
    for second in range(3_600, 3_660):
        time.hear("away", second, NOON + second * 1_000)
    assert 50_000 <= time.now - NOON - 3_600_000 <= 60_000


def test_the_clock_of_a_worker_that_is_gone_corrects_nobody() -> None:
    time = LogTime()
    time.hear("gone", 0, NOON + YEAR)
    for second in range(12):
        time.hear("stays", second, NOON + second * 1_000)
        assert time.processed(NOON + second * 1_000) == NOON + (YEAR if second <= 10 else second * 1_000)


def test_a_hundred_workers_move_log_time_no_faster_than_one() -> None:
    time = LogTime()
    for tick in range(3_000):
        time.hear(f"w-{tick % 100}", tick, NOON + tick * 10 + tick * tick % 700 + tick % 100 * HOUR)
    assert abs(time.now - NOON - 30_000) <= 1_400


# Times of requests that are wrong


def test_a_record_from_next_year_closes_nothing_and_counts_with_those_it_came_with() -> None:
    log = Log()
    log.say(NOON, {0: NOON}, beside(NOON))
    rows = [*beside(NOON + 1_000), (NOON + YEAR, "canary")]
    assert log.say(NOON + 1_000, {0: NOON + YEAR}, rows) == []
    assert log.windows.open == (NOON,)
    assert log.windows.ahead == 1
    assert log.say(NOON + 7_000, {0: NOON + 7_000}, beside(NOON + 7_000)) == [0]
    assert requests_of(log.closed) == {0: 5}
    assert log.windows.late == 0


def test_a_record_from_next_year_does_not_lift_a_backlog_to_the_present() -> None:
    log = Log()
    now = NOON + 72 * HOUR
    log.say(now, {0: NOON + YEAR}, [*beside(NOON), (NOON + YEAR, "canary")], lag=50)
    assert log.say(now + 10, {0: NOON + 6_000}, beside(NOON + 6_000), lag=50) == []
    assert log.windows.late == 0


def test_a_record_from_next_year_that_came_alone_counts_at_the_time_it_was_served() -> None:
    log = Log()
    log.say(NOON + 1_000, {0: NOON + 2 * YEAR}, [(NOON + 2 * YEAR, "canary")])
    assert log.windows.open == (NOON,)
    assert log.windows.watermark == NOON + 1_000 + GRACE


@pytest.mark.parametrize("time", [0, -1, -(2**63), NOON - 3 * HOUR, NOON - YEAR])
def test_a_record_of_long_ago_opens_no_window_and_counts_late_in_the_oldest_open_one(time: int) -> None:
    log = Log()
    for second in range(4):
        rows = [*beside(NOON + second * 1_000), (time, "canary")]
        assert log.say(NOON + second * 1_000, {0: NOON + second * 1_000}, rows) == []
        assert log.windows.open == (NOON,)
    log.say(NOON + 7_000, {0: NOON + 7_000}, beside(NOON + 7_000))
    assert requests_of(log.closed) == {0: 12}
    assert log.closed[0].late_requests == log.windows.late == 4


def test_late_requests_count_in_the_oldest_open_window_for_their_own_rule_and_revision() -> None:
    log = Log()
    log.say(NOON, {0: NOON}, beside(NOON))
    log.say(NOON + 7_000, {0: NOON + 7_000}, beside(NOON + 7_000))
    late = WindowCounts(NOON, 2, "canary", 3, {"ok": 2, "fallback_error": 1}, 2)
    log.say(NOON + 7_100, {0: NOON + 7_100}, windows=(late,), revision=6)
    log.say(NOON + 12_000, {0: NOON + 12_000}, beside(NOON + 12_000))
    first, second = log.closed
    assert (first.late_requests, second.late_requests, log.windows.late) == (0, 3, 3)
    assert [(dose.start - NOON, dose.rule, dose.revision) for dose in second.doses] == [(5_000, -1, 7), (5_000, 2, 6)]
    assert second.doses[1].arms == {"canary": ArmCounts(requests=3, errors=1, assigned=3, served=2)}


def test_times_all_over_the_calendar_neither_open_windows_without_bound_nor_lose_a_request() -> None:
    log = Log()
    for number in range(40):
        times = [NOON - (number * 50 + each) * 7 * HOUR for each in range(50)]
        log.say(NOON + number * 1_000, {number % 3: None}, [(time, "canary") for time in times], lag=4)
        assert len(log.windows.open) <= MOST_OPEN
    assert len(json.dumps(log.windows.to_plain())) < 40_000
    held = sum(each["late_requests"] for each in log.windows.to_plain()["open"])
    assert held + sum(each.late_requests for each in log.closed) >= log.windows.late > 1_500
    log.say(NOON + 50_000, {0: NOON, 1: NOON, 2: NOON})
    log.say(NOON + 60_000, {0: NOON + 60_000, 1: NOON + 60_000, 2: NOON + 60_000}, beside(NOON + 60_000))
    assert sum(requests_of(log.closed).values()) == 2_000


# What counts in a window


def test_weights_that_change_in_the_middle_of_a_window_make_two_doses_of_it() -> None:
    log = Log()
    log.say(NOON, {0: NOON}, beside(NOON), revision=7)
    log.say(NOON + 1_000, {0: NOON + 1_000}, beside(NOON + 1_000, "canary", "canary", "control"), revision=9)
    log.say(NOON + 8_000, {0: NOON + 8_000}, beside(NOON + 8_000), revision=9)
    (window,) = log.closed
    assert [(dose.revision, {arm: each.requests for arm, each in dose.arms.items()}) for dose in window.doses] == [
        (7, {"canary": 1, "control": 1}),
        (9, {"canary": 2, "control": 1}),
    ]


def test_a_summary_of_an_older_revision_counts_under_its_own_and_the_highest_named_stays() -> None:
    log = Log()
    log.say(NOON, {0: NOON}, beside(NOON), revision=9, slot="w-0")
    log.say(NOON + 100, {1: NOON}, beside(NOON), revision=7, slot="w-1")
    assert log.windows.revision == 9
    log.say(NOON + 8_000, {0: NOON + 8_000, 1: NOON + 8_000}, revision=9)
    assert [dose.revision for dose in log.closed[0].doses] == [7, 9]


def test_the_first_window_of_a_revision_says_so() -> None:
    log = Log()
    for second, revision in ((0, 7), (3, 9), (6, 9), (11, 8), (12, 9), (30, 9)):
        log.say(NOON + second * 1_000, {0: NOON + second * 1_000}, beside(NOON + second * 1_000), revision=revision)
    assert [(each.start - NOON, each.warming) for each in log.closed] == [(0, (7, 9)), (5_000, ()), (10_000, (8,))]


@pytest.mark.parametrize("arm", ["control", "canary"])
def test_a_window_without_control_or_without_a_candidate_is_closed_like_any_other(arm: str) -> None:
    log = Log()
    log.say(NOON, {0: NOON}, beside(NOON, arm))
    log.say(NOON + 8_000, {0: NOON + 8_000}, beside(NOON + 8_000, arm))
    assert list(log.closed[0].doses[0].arms) == [arm]


def test_mirror_runs_probes_and_failing_units_come_with_their_window_and_revision() -> None:
    log = Log()
    probe = Probe(NOON, "canary", 64, 900, 1_100)
    log.say(
        NOON,
        {0: NOON},
        beside(NOON),
        mirrored=(MirrorCounts(NOON, 1, "canary", 3, {"ok": 2, "fallback_error": 1}, {"ok": 1}, 1, 0),),
        runs=(RunCounts(NOON, "canary", 4, 0, 1),),
        failing=(FailingUnits(NOON, -1, "canary", (5, -9, 5), 2),),
        probes=(probe,),
    )
    log.say(NOON + 8_000, {0: NOON + 8_000}, beside(NOON + 8_000), revision=8)
    (window,) = log.closed
    (pairs,), (runs,), (failing,), (probes,) = window.pairs, window.runs, window.failing, window.probes
    assert (pairs.rule, pairs.revision, pairs.arm) == (1, 7, "canary")
    assert (pairs.counts.only_candidate, pairs.counts.only_control, pairs.counts.neither) == (1, 1, 1)
    assert (runs.revision, runs.batches, runs.control_failed, runs.candidate_failed) == (7, 4, 0, 1)
    assert (failing.revision, failing.units, failing.repeats, failing.unnamed) == (7, (-9, 5), 1, 2)
    assert (probes.revision, probes.arm, probes.probes, probes.left_out) == (7, "canary", (probe,), 0)


@pytest.mark.parametrize("most", [1_000, 3_000, 9_000])
def test_a_summary_in_parts_is_judged_as_the_whole_would_be(most: int) -> None:
    whole = Summary(
        "w-0",
        1,
        "delay-v2",
        7,
        NOON + 30_000,
        partitions=(PartitionProgress(0, 0, 60, 9, NOON + 29_000),),
        windows=counts((NOON + second * 500, arm) for second in range(60) for arm in ("control", "canary")),
        runs=(RunCounts(NOON + 29_000, "canary", 1, 0, 0),),
    )
    parts = in_parts(whole, most)
    assert len(parts) > 1
    one, other = Log(), Log()
    for log in (one, other):
        log.say(NOON, {0: NOON}, beside(NOON))
    one.take(whole)
    for part in parts:
        other.take(part)
    assert other.closed == one.closed
    assert len(one.closed) == 5
    assert other.windows.late == other.windows.missing == 0


# Other rollouts, missing summaries


def test_a_summary_of_another_rollout_counts_nowhere_but_tells_where_its_partitions_are() -> None:
    log = Log(Windows(WINDOW, GRACE, "delay-v2"))
    log.say(NOON, {1: NOON}, beside(NOON), rollout="older", slot="w-1", lag=4)
    log.say(NOON, {0: NOON}, beside(NOON), lag=4)
    assert log.say(NOON + 9_000, {0: NOON + 9_000}, beside(NOON + 9_000), lag=4) == []
    assert log.say(NOON + 9_000, {1: NOON + 8_000}, beside(NOON + 8_000), rollout="older", slot="w-1") == [0]
    assert requests_of(log.closed) == {0: 2}
    assert log.windows.foreign == 2
    assert log.windows.revision == 7


def test_a_summary_of_an_earlier_apply_of_the_same_name_counts_nowhere() -> None:
    windows = Windows(WINDOW, GRACE, "delay-v2", apply_revision=7)
    earlier = Summary("w-0", 0, "delay-v2", 6, NOON, windows=counts(beside(NOON)))
    assert windows.take(earlier) == ()
    assert (windows.foreign, windows.open, windows.revision) == (1, (), -1)
    assert windows.deltas(earlier) == {}
    assert windows.deltas(replace(earlier, revision=7))["canary"].requests == 1


def test_without_a_name_the_rollout_is_that_of_the_first_summary_since_the_apply() -> None:
    windows = Windows(WINDOW, GRACE, apply_revision=7)
    for rollout, revision in (("older", 6), ("delay-v2", 7), ("older", 6), ("another", 8)):
        windows.take(Summary("w-0", 0, rollout, revision, NOON, windows=counts(beside(NOON))))
    assert (windows.rollout, windows.foreign, windows.revision) == ("delay-v2", 3, 7)


def test_missing_summaries_and_restarted_workers_are_noted_and_stop_nothing() -> None:
    log = Log()
    for sequence in (3, 4, 7, 8, 0, 1, 1):
        log.take(Summary("w-0", sequence, "delay-v2", 7, NOON, windows=counts(beside(NOON))))
    assert (log.windows.missing, log.windows.restarts) == (2, 2)
    log.say(NOON + 9_000, {0: NOON + 9_000})
    assert requests_of(log.closed) == {0: 14}


# Laws


@dataclass(frozen=True)
class Story:
    """What each slot writes, in its own order."""

    by_slot: tuple[tuple[Summary, ...], ...]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Two or three workers with two partitions each, requests out of order by at most the grace, none late."""
    window, grace, year = 1_000, 500, NOON + YEAR
    by_slot = []
    for slot in range(draw(st.integers(2, 3))):
        own = (2 * slot, 2 * slot + 1)
        clock = NOON + draw(st.integers(-700, 700))
        begin = tuple(PartitionProgress(number, 0, 0, 1, None) for number in own)
        written = [Summary(f"w-{slot}", 0, "delay-v2", 7, clock, begin)]
        for sequence in range(1, draw(st.integers(2, 9))):
            clock += draw(st.integers(50, 900))
            back = draw(st.lists(st.tuples(st.sampled_from(own), st.integers(0, grace)), min_size=1, max_size=5))
            newest = {
                number: clock - min(late for own_, late in back if own_ == number) for number in {p for p, _ in back}
            }
            rows = [(clock - late, "canary" if late % 3 else "control") for _, late in back]
            if draw(st.booleans()):
                newest[own[0]] = year
                rows.append((year, "canary"))
            progress = tuple(
                PartitionProgress(number, sequence, sequence + (number in newest), 1, newest.get(number))
                for number in own
            )
            each = Summary(
                f"w-{slot}",
                sequence,
                "delay-v2",
                7 + draw(st.integers(0, 1)),
                clock,
                progress,
                counts(rows, rule=draw(st.integers(-1, 0)), window=window),
                runs=(RunCounts(window_start(window, clock), "canary", 1, 0, sequence % 2),) if not back[0][1] else (),
                failing=(FailingUnits(window_start(window, rows[0][0]), -1, "canary", (sequence, slot, 3), 0),),
            )
            written.append(each)
        by_slot.append(tuple(written))
    return Story(tuple(by_slot))


def judged(order: Iterable[Summary]) -> tuple[list[ClosedWindow], Windows]:
    windows = Windows(1_000, 500)
    return [closed for summary in order for closed in windows.take(summary)], windows


@settings(max_examples=60)
@given(stories(), st.data())
def test_without_late_requests_any_interleaving_of_workers_closes_the_same_windows(
    story: Story, data: st.DataObject
) -> None:
    opening = [written[0] for written in story.by_slot]
    turns = [slot for slot, written in enumerate(story.by_slot) for _ in written[1:]]
    expected, one = judged([*opening, *(each for written in story.by_slot for each in written[1:])])
    rest = [iter(written[1:]) for written in story.by_slot]
    found, other = judged([*opening, *(next(rest[slot]) for slot in data.draw(st.permutations(turns)))])
    assert one.late == other.late == 0
    assert found == expected
    assert other.open == one.open
    assert other.watermark == one.watermark


TIMES = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(NOON - 20_000, NOON + 60_000), st.sampled_from([0, -1, NOON + YEAR])
)
WILD = st.builds(
    Summary,
    st.sampled_from(["w-0", "w-1", "w-2"]),
    st.integers(0, 5),
    st.sampled_from(["delay-v2", "delay-v2", "another"]),
    st.integers(0, 3),
    TIMES,
    st.lists(
        st.builds(
            PartitionProgress, st.integers(0, 3), st.just(0), st.integers(0, 2), st.integers(-1, 1), st.none() | TIMES
        ),
        max_size=3,
    ).map(tuple),
    st.lists(st.tuples(TIMES, st.sampled_from(["control", "canary"])), max_size=6).map(counts),
)


@settings(max_examples=150)
@given(st.lists(WILD, max_size=30))
def test_whatever_comes_each_request_counts_once_and_windows_come_in_order(summaries: list[Summary]) -> None:
    windows = Windows(WINDOW, GRACE, "delay-v2")
    closed = [each for summary in summaries for each in windows.take(summary)]
    starts = [each.start for each in closed]
    assert starts == sorted(set(starts))
    assert all(start > starts[-1] for start in windows.open if starts)
    given_ = sum(each.requests for one in summaries if one.rollout == "delay-v2" for each in one.windows)
    plain = windows.to_plain()["open"]
    still_open = sum(arm["assigned"] for window in plain for *_, arm in window["arms"])
    assert sum(requests_of(closed).values()) + still_open == given_
    assert len(windows.open) <= MOST_OPEN


@settings(max_examples=60)
@given(st.lists(WILD, max_size=20), st.integers(0, 20))
def test_a_judge_that_takes_over_from_the_state_goes_on_exactly(summaries: list[Summary], cut: int) -> None:
    first, alone = Windows(WINDOW, GRACE, "delay-v2"), Windows(WINDOW, GRACE, "delay-v2")
    closed = [each for summary in summaries[:cut] for each in first.take(summary)]
    second = Windows.from_plain(json.loads(json.dumps(first.to_plain())))
    closed += [each for summary in summaries[cut:] for each in second.take(summary)]
    assert closed == [each for summary in summaries for each in alone.take(summary)]
    assert json.dumps(second.to_plain()) == json.dumps(alone.to_plain())


def test_a_state_of_another_version_is_refused_with_the_cure() -> None:
    plain = Windows(WINDOW, GRACE).to_plain() | {"version": 99}
    with pytest.raises(ValueError, match="version 99, and this program knows 1"):
        Windows.from_plain(plain)
