"""Summaries count each request once, and survive the way to the wire."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamsplit.core.mirroring import MirrorCounts
from streamsplit.core.records import Outcome, Predictions, Routing
from streamsplit.core.summary import (
    COUNT_BYTES,
    LostRange,
    PartitionProgress,
    Summary,
    WindowCounts,
    count_windows,
    in_parts,
)
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


@given(st.integers(0, 7), st.integers(0, 7), st.integers(1, 20))
def test_parts_add_up_to_the_summary(windows: int, mirrored: int, most: int) -> None:
    whole = Summary(
        "s-0",
        7,
        "r",
        3,
        0,
        partitions=(PartitionProgress(0, 1, 5),),
        windows=tuple(WindowCounts(start, -1, "control", 1, {"ok": 1}, 1) for start in range(windows)),
        undecodable=2,
        lost=(LostRange(1, 0, 4),),
        mirrored=tuple(MirrorCounts(start, -1, "canary", 1, {"ok": 1}, {}, 1, 0) for start in range(mirrored)),
    )
    parts = in_parts(whole, most)
    assert [part.sequence for part in parts] == list(range(7, 7 + len(parts)))
    assert all(len(part.windows) + len(part.mirrored) <= most for part in parts)
    assert sum((part.windows for part in parts), ()) == whole.windows
    assert sum((part.mirrored for part in parts), ()) == whole.mirrored
    assert sum((part.partitions for part in parts), ()) == whole.partitions
    assert sum((part.lost for part in parts), ()) == whole.lost
    assert sum(part.undecodable for part in parts) == whole.undecodable


def test_no_count_takes_more_than_is_reckoned_with() -> None:
    outcomes = {outcome.label: 2**62 for outcome in Outcome}
    largest = (
        Summary("", 0, "", 0, 0, windows=(WindowCounts(-(2**63), 999, "n" * 100, 2**62, outcomes, 2**62),)),
        Summary(
            "", 0, "", 0, 0, mirrored=(MirrorCounts(-(2**63), 999, "n" * 100, 2**62, outcomes, outcomes, 2**62, 2**62),)
        ),
    )
    assert all(len(SummaryEncoder(b"").encode(summary)) < COUNT_BYTES for summary in largest)
