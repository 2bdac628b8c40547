"""Summaries count each request once, and survive the way to the wire."""

import io
import json
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import fastavro
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamsplit.core.byte_strings import ByteStrings
from streamsplit.core.counting import count_batch
from streamsplit.core.errors import DataError
from streamsplit.core.guards import JudgeSettings
from streamsplit.core.mirroring import SCORE_STEPS, SCORE_UNIT, MirrorCounts, ScorePairs
from streamsplit.core.records import Outcome, Predictions, Routing
from streamsplit.core.seen_units import packed
from streamsplit.core.summary import (
    BIN_BYTES,
    COUNT_BYTES,
    MOST_UNITS,
    PROGRESS_BYTES,
    SCORE_BINS,
    UNIT_BYTES,
    FailingUnits,
    LostRange,
    PartitionProgress,
    Probe,
    RunCounts,
    Summary,
    UnitMarks,
    WindowCounts,
    in_parts,
)
from streamsplit.wire.columns import varint
from streamsplit.wire.reader import RecordReader
from streamsplit.wire.schemas import SchemaStore, packaged, parse_schema, plain
from streamsplit.wire.summaries import SummaryEncoder, SummaryReader

ARMS = ("control", "canary")
Row = tuple[int, int, int, int, Outcome]

PAIRS = ScorePairs(
    scored=2,
    clipped=1,
    unscored=1,
    control=SCORE_UNIT,
    candidate=3,
    squares=SCORE_UNIT // 2,
    drop={490: 1000, 0: 1, 1000: 999},
    rise=dict.fromkeys(range(SCORE_STEPS + 1), 7),
    drop_unscored={63: 64, 64: 63},
    rise_unscored={1: 1000},
)


def counted(rows: list[Row], window: int = 1000) -> tuple[WindowCounts, ...]:
    times, rules, arms, served, outcomes = ([row[index] for row in rows] for index in range(5))
    m = len(rows)
    routing = Routing(
        ByteStrings.repeated(None, m), np.zeros(m, np.int16), np.array(rules, np.int16), np.array(arms, np.int8)
    )
    predictions = Predictions(np.array(served, np.int8), np.array(outcomes, np.int8), np.zeros(m, np.int64), {}, {})
    judge = JudgeSettings(window_seconds=window / 1000)
    return count_batch(judge, np.array(times, np.int64), routing, predictions, ARMS).windows


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
@example([(2**63 - 1, -1, 0, 0, Outcome.OK)], 1)
@example([(2**63 - 2, -1, 0, 0, Outcome.OK), (2**63 - 1, 0, 1, 1, Outcome.OK)], 1)
@example([(-(2**63), -1, 0, 0, Outcome.OK), (-(2**63) + 3, 0, 1, 1, Outcome.OK)], 1)
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


def test_what_the_judge_needs_survives_the_round_trip() -> None:
    summary = Summary(
        "w-1",
        0,
        "delay-v2",
        4,
        0,
        windows=(
            WindowCounts(0, -1, "control", 1300, {"ok": 1300}, 1300, scores={0: 1, 7: 200, 999: 1000}, clipped=3),
            WindowCounts(0, 2, "canary", 9, {"ok": 4, "fallback_timeout": 5}, 4, {"fallback_timeout": 5}, 3, {}, 0, 5),
            WindowCounts(5000, 2, "canary", 1000, {"ok": 1000}, 1000, scores=dict.fromkeys(range(SCORE_BINS), 1)),
        ),
        mirrored=(
            MirrorCounts(0, -1, "canary", 3, {"ok": 3}, {}, 1, 0),
            MirrorCounts(0, -1, "green", 3, {"fallback_error": 3}, {}, 0, 0, fallen=True),
            MirrorCounts(0, 0, "canary", 3, {"ok": 3}, {}, 1, 0, PAIRS),
            MirrorCounts(0, 1, "canary", 3, {"ok": 3}, {}, 1, 0, replace(PAIRS, drop={}, rise_unscored={500: 2**53})),
        ),
        runs=(RunCounts(0, "canary", 1, 0, 1),),
        failing=(FailingUnits(0, 2, "canary", (-(2**63), 0, 2**63 - 1), 2), FailingUnits(0, -1, "control", (), 1)),
        probes=(Probe(0, "canary", 64, 900, 20_000, candidate_over=True),),
        firsts=(
            WindowCounts(0, -1, "control", 2, {"ok": 2}, 2, scores={5: 2}),
            WindowCounts(0, -1, "canary", 0, {}, 0),
        ),
        units=(UnitMarks(3, 17, True, 900, packed(np.array([1 << 19, 0], np.int32))), UnitMarks(4, 17, False, 0, b"")),
    )
    value = SummaryEncoder(packaged("summary").header).encode(summary)
    assert SummaryReader(SchemaStore()).read(value) == summary


def window_of(start: int, bins: int) -> WindowCounts:
    return WindowCounts(start, -1, "control", 1, {"ok": 1}, 1, scores=dict.fromkeys(range(bins), 1))


def pairs_of(points: int) -> ScorePairs:
    return ScorePairs(scored=1, drop=dict.fromkeys(range(points), 2**62), rise={0: 1000})


@settings(max_examples=50)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2), st.integers(0, 300), st.integers(1, 15_000))
def test_parts_add_up_to_the_summary_and_none_takes_more_than_it_may(
    windows: int, mirrored: int, few: int, bins: int, most: int
) -> None:
    whole = Summary(
        "s-0",
        7,
        "r",
        3,
        0,
        partitions=(PartitionProgress(0, 1, 5),),
        windows=tuple(window_of(start, bins) for start in range(windows)),
        undecodable=2,
        lost=(LostRange(1, 0, 4),),
        mirrored=tuple(
            MirrorCounts(start, -1, "canary", 1, {"ok": 1}, {}, 1, 0, pairs_of(bins)) for start in range(mirrored)
        ),
        runs=tuple(RunCounts(start, "canary", 1, 0, 0) for start in range(few)),
        failing=tuple(FailingUnits(start, -1, "canary", tuple(range(bins // 4)), 0) for start in range(few)),
        probes=tuple(Probe(start, "canary", 1, 1, 1) for start in range(few)),
        firsts=tuple(window_of(start, bins) for start in range(few)),
        units=tuple(UnitMarks(number, 3, True, 9, bytes(4 * bins)) for number in range(few)),
    )
    parts = in_parts(whole, most)
    assert [part.sequence for part in parts] == list(range(7, 7 + len(parts)))
    for name in ("runs", "probes", "failing", "firsts", "units", "windows", "mirrored", "partitions", "lost"):
        assert sum((getattr(part, name) for part in parts), ()) == getattr(whole, name)
    assert sum(part.undecodable for part in parts) == whole.undecodable
    encoder, bare = SummaryEncoder(b""), Summary("s-0", 7, "r", 3, 0, whole.partitions, (), 2, whole.lost)
    for part in parts:
        counts = sum(len(getattr(part, name)) for name in ("runs", "probes", "failing", "windows", "mirrored"))
        assert counts <= 1 or len(encoder.encode(part)) - len(encoder.encode(bare)) <= most


def test_no_count_takes_more_than_is_reckoned_with() -> None:
    outcomes, name, start = {outcome.label: 2**62 for outcome in Outcome}, "n" * 100, -(2**63)
    bins, points = (dict.fromkeys(range(most), 2**62) for most in (SCORE_BINS, SCORE_STEPS + 1))
    sums = ScorePairs(2**62, 2**62, 2**62, 2**62, 2**62, 2**62)
    all_pairs = replace(sums, drop=points, rise=points, drop_unscored=points, rise_unscored=points)
    largest: dict[str, tuple[object, int]] = {
        "windows": (
            WindowCounts(start, 999, name, 2**62, outcomes, 2**62, outcomes, 2**62, bins, 2**62, 2**62),
            SCORE_BINS * BIN_BYTES,
        ),
        "mirrored": (
            MirrorCounts(start, 999, name, 2**62, outcomes, outcomes, 2**62, 2**62, all_pairs),
            4 * len(points) * BIN_BYTES,
        ),
        "runs": (RunCounts(start, name, 2**62, 2**62, 2**62), 0),
        "failing": (FailingUnits(start, 999, name, (start,) * MOST_UNITS, 2**62), MOST_UNITS * UNIT_BYTES),
        "probes": (Probe(start, name, 2**31 - 1, 2**62, 2**62, control_over=True, candidate_over=True), 0),
    }
    bare = len(SummaryEncoder(b"").encode(Summary("", 0, "", 0, 0)))
    progress = PartitionProgress(2**31 - 1, 2**62, 2**62, 2**62, 2**62, b"d" * 32)
    standing = replace(Summary("", 0, "", 0, 0), partitions=(progress,))
    assert len(SummaryEncoder(b"").encode(standing)) - bare < PROGRESS_BYTES
    for field, (count, more) in largest.items():
        counts: dict[str, Any] = {field: (count,)}
        summary = replace(Summary("", 0, "", 0, 0), **counts)
        assert len(SummaryEncoder(b"").encode(summary)) < COUNT_BYTES + more, field


def test_a_summary_of_a_worker_that_knows_no_mirrored_scores_has_none() -> None:
    older = json.loads(packaged("summary").text)
    mirrored = next(field for field in older["fields"] if field["name"] == "mirrored")["type"]["items"]
    mirrored["fields"] = [field for field in mirrored["fields"] if field["name"] != "scores"]
    schema = parse_schema(json.dumps(older))
    counts = MirrorCounts(0, -1, "canary", 3, {"ok": 3}, {}, 1, 0)
    summary = Summary("w-0", 1, "delay-v2", 2, 3)
    record: dict[str, Any] = {name: getattr(summary, name) for name in Summary.__slots__}
    record["mirrored"] = [{name: getattr(counts, name) for name in MirrorCounts.__slots__}]
    body = io.BytesIO(schema.header)
    body.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(body, fastavro.parse_schema(plain(schema.definition), _force=True), record)
    assert SummaryReader(SchemaStore([schema])).read(body.getvalue()) == replace(summary, mirrored=(counts,))


WIDE = Summary(
    "w-0",
    1,
    "delay-v2",
    2,
    3,
    partitions=(PartitionProgress(0, 5, 9, 0, 1_700_000_000_000, b"d" * 32),),
    windows=tuple(
        WindowCounts(start, -1, "canary", 300, {"ok": 300}, 300, {}, 0, {0: 1, 63: 64, 64: 63, 999: 2**62}, 1, 2)
        for start in (0, 1000)
    ),
    mirrored=(MirrorCounts(0, -1, "canary", 3, {"ok": 3}, {}, 1, 0, PAIRS),),
    firsts=(WindowCounts(0, 0, "control", 3, {"ok": 3}, 3, {}, 0, {7: 3}, 0, 0),),
)


def read_or_refused(value: bytes) -> Summary | str:
    try:
        return SummaryReader(SchemaStore()).read(value)
    except DataError as error:
        return str(error)


@settings(max_examples=300)
@given(st.data())
def test_histograms_are_read_at_once_as_the_library_reads_them(data: st.DataObject) -> None:
    value = bytearray(SummaryEncoder(packaged("summary").header).encode(WIDE))
    cut = data.draw(st.integers(10, len(value)))
    for place in data.draw(st.lists(st.integers(10, len(value) - 1), max_size=3)):
        value[place] = data.draw(st.integers(0, 255))
    hostile = bytes(value[:cut] if data.draw(st.booleans()) else value)
    with patch.object(RecordReader, "start_of_own", return_value=None):
        expected = read_or_refused(hostile)
    assert read_or_refused(hostile) == expected


def test_arrays_of_several_blocks_and_of_blocks_with_their_size_are_read_too() -> None:
    header, summary = packaged("summary").header, replace(WIDE, mirrored=(), firsts=(), windows=WIDE.windows[:1])
    value, scores = SummaryEncoder(header).encode(summary), b"".join(map(varint, (0, 1, 63, 64, 64, 63, 999, 2**62)))
    assert value.count(varint(4) + scores + varint(0)) == 1
    for blocks in (
        varint(-4) + varint(len(scores)) + scores,
        varint(1) + scores[:2] + varint(3) + scores[2:],
    ):
        assert read_or_refused(value.replace(varint(4) + scores, blocks)) == summary
