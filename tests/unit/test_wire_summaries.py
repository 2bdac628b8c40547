"""Summaries count each request once, and survive the way to the wire."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.mirroring import MirrorCounts
from streamsplit.core.records import Outcome, Predictions, Routing
from streamsplit.core.summary import LostRange, PartitionProgress, Summary, WindowCounts, count_windows
from streamsplit.wire.schemas import SchemaStore, packaged
from streamsplit.wire.summaries import SummaryEncoder, SummaryReader

ARMS = ("control", "canary")
Row = tuple[int, int, int, int, Outcome]


def counted(rows: list[Row], window: int = 1000) -> tuple[WindowCounts, ...]:
    times, rules, arms, served, outcomes = ([row[index] for row in rows] for index in range(5))
    m = len(rows)
    routing = Routing([None] * m, np.zeros(m, np.int16), np.array(rules, np.int16), np.array(arms, np.int8))
    predictions = Predictions(np.array(served, np.int8), np.array(outcomes, np.int8), np.zeros(m, np.int64), {}, {})
    return count_windows(window, np.array(times, np.int64), routing, predictions, ARMS)


def test_requests_are_counted_by_window_rule_and_assigned_arm() -> None:
    rows = [
        (999, -1, 0, 0, Outcome.OK),
        (1000, -1, 1, 1, Outcome.OK),
        (1999, -1, 1, 0, Outcome.FALLBACK_ERROR),
        (1500, 0, 1, -1, Outcome.DEAD_LETTER),
        (-1, -1, 0, 0, Outcome.OK),
    ]
    assert counted(rows) == (
        WindowCounts(-1000, -1, "control", 1, {"ok": 1}, 1),
        WindowCounts(0, -1, "control", 1, {"ok": 1}, 1),
        WindowCounts(1000, -1, "canary", 2, {"ok": 1, "fallback_error": 1}, 1),
        WindowCounts(1000, 0, "canary", 1, {"dead_letter": 1}, 0),
    )
    assert counted([]) == ()


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.integers(-1, 3),
            st.integers(0, 1),
            st.integers(-1, 1),
            st.sampled_from(Outcome),
        ),
        max_size=20,
    ),
    st.integers(1, 10**7),
)
def test_counts_add_up_and_can_be_written_whatever_the_times(rows: list[Row], window: int) -> None:
    windows = counted(rows, window)
    assert sum(each.requests for each in windows) == len(rows)
    assert all(sum(each.outcomes.values()) == each.requests >= each.served_by_arm for each in windows)
    assert all(each.start % window == 0 for each in windows)
    assert len({(each.start, each.rule, each.arm) for each in windows}) == len(windows)
    summary = Summary("w-0", 3, "delay-v2", 7, 1_700_000_000_000, windows=windows)
    value = SummaryEncoder(packaged("summary").header).encode(summary)
    assert SummaryReader(SchemaStore()).read(value) == summary


def test_progress_losses_and_mirrors_survive_the_round_trip() -> None:
    summary = Summary(
        "w-1",
        0,
        "",
        -1,
        0,
        (PartitionProgress(0, 5, 9, 100, 1_700_000_000_000), PartitionProgress(1, 7, 7)),
        (),
        2,
        (LostRange(1, 3, 7),),
        (MirrorCounts(0, -1, "canary", 3, {"ok": 2, "fallback_timeout": 1}, {"ok": 1}, 1, 0),),
    )
    value = SummaryEncoder(packaged("summary").header).encode(summary)
    assert SummaryReader(SchemaStore()).read(value) == summary
